"""A study from its declaration to its results; the same call resumes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from steadystep.lab.errors import UserError
from steadystep.lab.execution.observer import Observer, Silent
from steadystep.lab.execution.obtain import allowed_replicas, obtaining, on_record
from steadystep.lab.execution.store import Store, StoredStudy
from steadystep.lab.execution.worker import Job
from steadystep.lab.study.records import Results
from steadystep.lab.study.spec import Study
from steadystep.lab.study.stages import carry_out
from steadystep.lab.tasks import find_task
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.device import find_device
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS
from steadystep.lab.training.trial import Trial

__all__ = ["Observer", "UnfinishedStudyError", "read_study", "run_study"]


class UnfinishedStudyError(UserError):
    """A report was asked for before all trials were run."""


def run_study(
    study: Study,
    task: Task,
    data: Path | None,
    folder: Path,
    workers: int = 1,
    observer: Observer | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    replicas: int | None = None,
    device: str | None = None,
) -> Results:
    """Run what is not on record in `folder` yet, and return everything. Killed at any moment, it goes on from there.

    Args:
        study: what to compare.
        task: the task that the study names.
        data: folder with local data sets, or None.
        folder: where records are kept; created where it does not exist.
        workers: how many trials, or batches of them, run at a time, with one thread each. The numbers do not depend
            on it.
        observer: told what happens.
        checkpoint_seconds: how often a running trial saves itself: how much of it a kill can cost. Default 5.
        replicas: how many trials may be trained side by side, where their model and optimizer allow it; 1:
            each by itself. Default: the task's. The numbers depend on it by rounding at most.
        device: where models are trained: "cpu", "cuda" or "cuda:N". A trial is the same on all of them: its numbers
            depend on it by rounding, and by the noise of a model that has dropout. Default: the CPU.

    Raises:
        UserError: in one line: missing data, a device that there is not, a folder that cannot be written or holds
            another study, options that an optimizer refuses, a worker that was killed.
        KeyboardInterrupt: on Ctrl-C, after the workers have written their checkpoints.
    """
    observer, where = observer or Silent(), find_device(device)
    if study.task != task.name:
        raise ValueError(f"the study is about {study.task!r}, the task given is {task.name!r}")
    splits = task.load(data)
    store = Store(folder, observer.warning)
    store.declare(StoredStudy(study=study, task_version=task.version, data=splits.fingerprint))
    allowed = allowed_replicas(replicas or task.replicas, task, splits, observer, where)
    job = Job(task, data, folder, checkpoint_seconds, allowed, where)
    with obtaining(job, splits, workers, observer) as obtain:
        return carry_out(study, task, splits.fingerprint, obtain)


def read_study(folder: Path, observer: Observer | None = None) -> Results:
    """The results of a finished study, from its folder alone: neither data nor training.

    Raises:
        BrokenStudyError: where the folder has no readable study.json.
        UnknownTaskError: where it is about a task that does not exist here.
        UnfinishedStudyError: where trials are missing.
    """
    observer = observer or Silent()
    store = Store(folder, observer.warning)
    declared = store.declared()

    def obtain(stage: str, trials: Sequence[Trial]) -> Mapping[str, Record]:
        records = on_record(store, trials)
        if len(records) < len({trial.id for trial in trials}):
            raise UnfinishedStudyError(
                f"{folder} is not finished: {len(records)} of {len(trials)} trials of the stage '{stage}' are on "
                "record; run `steadystep reproduce` with the same options to finish it"
            )
        return records

    return carry_out(declared.study, find_task(declared.study.task), declared.data, obtain)
