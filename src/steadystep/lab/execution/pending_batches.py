"""The batches of trials that still have to run."""

from collections.abc import Sequence

from steadystep.lab.execution.batch_plan import plan_batches
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.worker import Job, PendingBatch
from steadystep.lab.training.trial import Trial


def pending_batches(job: Job, trials: Sequence[Trial], recorded: Sequence[Trial]) -> list[PendingBatch]:
    """Return the batches with missing records, longest first, so that all workers finish at about the same time."""
    store = Store(job.folder)
    missing = {trial.id for trial in trials}
    # A trial that was interrupted while it was trained alone is resumed alone.
    interrupted = [trial.id for trial in trials if store.checkpoint(trial).exists()]
    pending = []
    for batch in plan_batches([*trials, *recorded], job.replicas, alone=interrupted):
        missing_in_batch = frozenset(trial.id for trial in batch.trials if trial.id in missing)
        if missing_in_batch:
            pending.append(PendingBatch(batch, missing_in_batch))
        else:
            store.drop_checkpoint(batch)  # left over if the study was killed after the batch's last record
    return pending
