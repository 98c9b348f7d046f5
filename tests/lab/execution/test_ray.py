"""A Ray cluster: the same records as from processes, whatever becomes of its nodes."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster as LocalCluster  # noqa: E402

from steadystep.lab.execution.cluster import Cluster, connected  # noqa: E402
from steadystep.lab.execution.executor import InProcess  # noqa: E402
from steadystep.lab.execution.ray_tasks import RayTasks  # noqa: E402
from steadystep.lab.execution.run_study import run_study  # noqa: E402
from steadystep.lab.execution.store import Store, StoredStudy  # noqa: E402
from steadystep.lab.execution.worker import Job  # noqa: E402
from steadystep.lab.stability.declare import sweep_for  # noqa: E402
from steadystep.lab.stability.run import run_sweep  # noqa: E402
from steadystep.lab.training.checkpoint import UnsafeCheckpointError  # noqa: E402
from steadystep.lab.training.trial import Trial  # noqa: E402
from tiny_study import CALM_TASK, LONG, STUDY, TASK, RecordingObserver, load, numbers, tiny_trial  # noqa: E402

TESTS = Path(__file__).parents[2]
HERE = Cluster()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Connect to a cluster of a head without CPUs, where the driver is, and two nodes with one CPU each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS))  # the nodes import the task of the tests
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        local = LocalCluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(2):
                local.add_node(num_cpus=1)
            ray.init(address=local.address, log_to_driver=False, logging_level="ERROR")
            yield local
        finally:
            ray.shutdown()
            local.shutdown()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return job_in(tmp_path / "study")


def job_in(folder: Path) -> Job:
    Store(folder).declare(StoredStudy(study=STUDY, task_version=1, data="0" * 16))
    return Job(TASK, None, folder, checkpoint_seconds=0.2)


def on_cluster(job: Job, trials: list[Trial], observer: RecordingObserver, ship_seconds: float = 0.2) -> dict[str, Any]:
    executor = RayTasks(job, load(None), HERE, ship_seconds)
    try:
        return dict(executor.run(trials, observer))
    finally:
        executor.close()


def in_process(trials: list[Trial], folder: Path) -> dict[str, Any]:
    records = InProcess(job_in(folder), load(None)).run(trials, RecordingObserver())
    return {key: numbers(record) for key, record in records.items()}


class Interrupter(RecordingObserver):
    """An observer that interrupts the study when all of these trials have trained an epoch."""

    def __init__(self, trials: list[Trial]) -> None:
        super().__init__()
        self._expected = {trial.id for trial in trials}

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Any) -> None:
        super().trial_progress(trial, epoch, epochs, metrics)
        if {trial for trial, _ in self.epochs} == self._expected:
            raise KeyboardInterrupt


class AfterCheckpoint(RecordingObserver):
    """An observer that interrupts a trial in this process once it has written a checkpoint."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Any) -> None:
        if self._store.checkpoint(trial).exists():
            raise KeyboardInterrupt


def test_a_study_has_the_records_of_one_in_processes(cluster: Any, tmp_path: Path) -> None:
    here, there = tmp_path / "processes", tmp_path / "ray"
    for task in (TASK, CALM_TASK):
        study = STUDY.model_copy(update={"task": task.name})
        alone = run_study(study, task, None, here / str(task.replicas), 2)
        spread = run_study(study, task, None, there / str(task.replicas), 2, cluster=HERE)
        for final, other in zip(alone.final.values(), spread.final.values(), strict=True):
            assert [numbers(record) for record in final] == [numbers(record) for record in other]
    stored = [{path.name for path in folder.rglob("*.json")} for folder in (here, there)]
    assert stored[0] == stored[1] and len(stored[0]) > 20


def test_both_nodes_work_with_one_thread_each(cluster: Any, job: Job) -> None:
    trials = [tiny_trial(seed=seed, epochs=100) for seed in range(4)]
    observer = RecordingObserver()
    records = on_cluster(job, trials, observer)
    assert {record.environment.threads for record in records.values()} == {1}
    assert [trial.id for trial in observer.started] != [] and len(observer.finished) == 4
    assert {(trial.id, 100) for trial in trials} <= set(observer.epochs)
    for trial in trials:
        assert Store(job.folder).read(trial) == records[trial.id]
        assert not Store(job.folder).checkpoint(trial).exists()


def test_a_lost_node_costs_no_record(cluster: Any, job: Job, tmp_path: Path) -> None:
    trials = [tiny_trial(seed=seed, epochs=900) for seed in range(3)]
    doomed = cluster.add_node(num_cpus=1)

    class Killer(RecordingObserver):
        """Removes a node when three trials run, and each has sent a checkpoint twice: the first may be of no epoch."""

        versions: ClassVar[set[tuple[str, int]]] = set()
        killed = False
        epochs_before = starts_before = 0

        def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Any) -> None:
            super().trial_progress(trial, epoch, epochs, metrics)
            for path in (Store(job.folder).checkpoint(trial) for trial in trials):
                if path.exists():
                    self.versions.add((path.name, path.stat().st_mtime_ns))
            sent = Counter(name for name, _ in self.versions)
            if len(sent) == len(trials) and min(sent.values()) > 1 and not self.killed:
                self.killed = True
                self.epochs_before, self.starts_before = len(self.epochs), len(self.started)
                cluster.remove_node(doomed, allow_graceful=False)

    observer = Killer()
    records = on_cluster(job, trials, observer)
    assert observer.killed and any("goes on elsewhere" in text for text in observer.warnings)
    assert {key: numbers(record) for key, record in records.items()} == in_process(trials, tmp_path / "alone")
    again = {trial.id for trial in observer.started[observer.starts_before :]}
    later = observer.epochs[observer.epochs_before :]
    assert again and all((trial, 1) not in later for trial in again), "a lost trial goes on from its checkpoint"


def test_an_interrupt_keeps_the_checkpoints(cluster: Any, job: Job) -> None:
    trials = [tiny_trial(seed=seed, epochs=LONG) for seed in range(2)]
    waiting = tiny_trial(seed=2, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        on_cluster(job, [*trials, waiting], Interrupter(trials), ship_seconds=1e9)
    store = Store(job.folder)
    assert all(store.checkpoint(trial).exists() and store.read(trial) is None for trial in trials)
    assert not store.checkpoint(waiting).exists() and store.read(waiting) is None


@pytest.mark.parametrize("first", ["ray", "process"])
def test_what_one_executor_began_goes_on_in_the_other(cluster: Any, job: Job, tmp_path: Path, first: str) -> None:
    trial = tiny_trial(epochs=1_500)

    def run(executor: str, observer: RecordingObserver) -> dict[str, Any]:
        here = InProcess(job, load(None))
        return on_cluster(job, [trial], observer) if executor == "ray" else dict(here.run([trial], observer))

    with pytest.raises(KeyboardInterrupt):
        run(first, Interrupter([trial]) if first == "ray" else AfterCheckpoint(Store(job.folder)))
    second = RecordingObserver()
    records = run("process" if first == "ray" else "ray", second)
    assert second.epochs and (trial.id, 1) not in second.epochs
    assert {key: numbers(record) for key, record in records.items()} == in_process([trial], tmp_path / "alone")


def test_an_error_on_a_node_ends_the_study_with_its_line(cluster: Any, job: Job) -> None:
    trial = tiny_trial()
    Store(job.folder).checkpoint(trial).write_bytes(b"\x80\x04N.")
    with pytest.raises(UnsafeCheckpointError, match=trial.id):
        on_cluster(job, [trial, tiny_trial(epochs=LONG)], RecordingObserver())


def test_a_trial_that_waits_for_a_missing_gpu_says_so_and_can_be_stopped(cluster: Any, job: Job) -> None:
    class Stop(RecordingObserver):
        def warning(self, text: str) -> None:
            super().warning(text)
            self.since = time.monotonic()

        def trial_started(self, trial: Trial) -> None:
            raise AssertionError("no node has a GPU")

    observer = Stop()
    executor = RayTasks(job, load(None), Cluster(num_gpus=0.5))
    monkey = pytest.MonkeyPatch()
    try:
        monkey.setattr(executor, "_handle_events", _interrupt_after(5))
        with pytest.raises(KeyboardInterrupt):
            executor.run([tiny_trial()], observer)
    finally:
        monkey.undo()
        executor.close()
    assert observer.warnings == [
        "a trial needs 0.5 of a GPU, and the cluster has 0: the study waits for a node that has one"
    ]


def _interrupt_after(calls: int) -> Any:
    left = iter(range(calls))

    def handle(collector: Any) -> None:
        if next(left, None) == calls - 1:
            raise KeyboardInterrupt

    return handle


def test_data_on_a_disk_are_read_by_the_nodes(cluster: Any, job: Job, tmp_path: Path) -> None:
    class OnDisk:
        """A split that cannot be sent."""

    splits = load(None)
    executor = RayTasks(job, replace(splits, train=OnDisk()), HERE)  # pyright: ignore[reportArgumentType]
    try:
        records = executor.run([tiny_trial()], RecordingObserver())
    finally:
        executor.close()
    assert {key: numbers(record) for key, record in records.items()} == in_process([tiny_trial()], tmp_path / "alone")


def test_a_sweep_runs_on_the_cluster(cluster: Any, tmp_path: Path) -> None:
    sweep = sweep_for(TASK, optimizers=("SGD",), clips=("norm",), lrs=(0.03, 0.3), seeds=1)
    alone = run_sweep(sweep, TASK, None, tmp_path / "alone", 1)
    spread = run_sweep(sweep, TASK, None, tmp_path / "spread", 1, cluster=HERE)
    assert {arm: [numbers(r) for r in records] for arm, records in alone.records.items()} == {
        arm: [numbers(r) for r in records] for arm, records in spread.records.items()
    }


def test_a_connection_of_the_caller_stays_open(cluster: Any) -> None:
    with connected(Cluster(address="nowhere:1"), workers=1):
        assert ray.is_initialized()
    assert ray.is_initialized()
