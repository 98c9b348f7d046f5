"""Run a study from its declaration to its results; the same call resumes an interrupted study."""

from collections.abc import Sequence
from pathlib import Path

from steadystep.lab.errors import UserError
from steadystep.lab.execution.cluster import Cluster, connected, trial_device
from steadystep.lab.execution.observer import Observer, Silent
from steadystep.lab.execution.seen_results import with_test_seen
from steadystep.lab.execution.stage_runner import allowed_replicas, stage_runner
from steadystep.lab.execution.store import Store, StoredStudy
from steadystep.lab.execution.stored_runs import UnfinishedStudyError, stored_runs
from steadystep.lab.execution.worker import Job
from steadystep.lab.statistics.verdicts import undecided_arms
from steadystep.lab.study.records import Cell, Results
from steadystep.lab.study.spec import Study
from steadystep.lab.study.stages import run_stages
from steadystep.lab.system.fork_server import warm_up
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.ranks import this_rank
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS
from steadystep.lab.training.trial import Trial

__all__ = ["Observer", "UnfinishedStudyError", "read_study", "run_study"]


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
    cluster: Cluster | None = None,
) -> Results:
    """Run the trials that have no record in `folder` yet, and return all results. A killed study can be resumed.

    Args:
        study: The study to run.
        task: The task of the study.
        data: Folder with local data sets, or None.
        folder: Folder of the records; created if it does not exist.
        workers: Number of trials, or batches of trials, that run at the same time, with one thread each. Results do
            not depend on it.
        observer: Receives the progress of the study.
        checkpoint_seconds: Seconds between checkpoints of a running trial, and so the work lost if it is killed.
            Default 5.
        replicas: Number of trials that may be trained side by side, if their model and optimizer allow it; 1 trains
            each trial alone. Default: the task's. Results differ by rounding at most.
        device: Device for training: "cpu", "cuda" or "cuda:N". A trial has the same identity on all devices; its
            results differ by rounding, and by the noise of models with dropout. Default: the CPU.
        cluster: The Ray cluster to run the trials on. Default: processes of this machine.

    Raises:
        UserError: if data are missing, the device does not exist, the folder cannot be written or contains another
            study, an optimizer does not accept its options, or a worker was killed. The message is one line.
        KeyboardInterrupt: on Ctrl-C, after the workers have written their checkpoints.
    """
    if workers > 1 and cluster is None:
        warm_up()  # while this process loads the data
    observer, torch_device = observer or Silent(), trial_device(device, cluster)
    if study.task != task.name:
        raise UserError(f"the study's task is {study.task!r}, but the given task is {task.name!r}")
    with connected(cluster, workers, torch_device):
        splits = task.load(data)
        store = Store(folder, observer.warning)
        store.declare(StoredStudy(study=study, task_version=task.version, data=splits.fingerprint))
        allowed = allowed_replicas(replicas or task.replicas, task, splits, observer, torch_device)
        job = Job(task, data, folder, checkpoint_seconds, allowed, torch_device, this_rank())
        planned = _Planned(study.declared_epochs, observer)
        with stage_runner(job, splits, workers, observer, cluster) as run_stage:
            results = run_stages(study, task, splits.fingerprint, run_stage, undecided_arms, planned)
    return with_test_seen(results, store)


class _Planned:
    """Tells an observer when more is planned than the study has declared.

    Args:
        epochs: those of the declared trials.
        observer: is told of further ones.
    """

    def __init__(self, epochs: int, observer: Observer) -> None:
        self._known, self._observer = epochs, observer
        self._trials: dict[str, int] = {}

    def __call__(self, cell: Cell, trials: Sequence[Trial]) -> None:
        self._trials.update({trial.id: trial.epochs for trial in trials})
        further = sum(self._trials.values()) - self._known
        if further > 0:
            self._known += further
            self._observer.study_extended(further)


def read_study(folder: Path, observer: Observer | None = None) -> Results:
    """Read the results of a finished study from its folder, without loading data or training.

    Raises:
        BrokenStudyError: if the folder has no valid study.json.
        UnknownTaskError: if the study's task does not exist.
        UnfinishedStudyError: if trials have no record.
    """
    return stored_runs(folder, (observer or Silent()).warning).results
