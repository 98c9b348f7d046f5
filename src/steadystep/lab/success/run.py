"""Run a declared measurement and collect its records. The same call resumes an interrupted measurement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from steadystep.lab.execution.cluster import Cluster, connected, trial_device
from steadystep.lab.execution.observer import Observer, Silent
from steadystep.lab.execution.stage_runner import allowed_replicas, stage_runner
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.worker import Job
from steadystep.lab.study.stages import final_trials, tune
from steadystep.lab.success.declare import Measurement
from steadystep.lab.system.fork_server import warm_up
from steadystep.lab.training.ranks import this_rank
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS
from steadystep.lab.training.trial import Trial


@dataclass(frozen=True)
class SuccessResults:
    """The records of a measurement. Final records are sorted by seed, so that the records of two arms are paired."""

    measurement: Measurement
    chosen: Mapping[tuple[str, str], Trial]  # by cell and arm: the tuning trial whose lr and clip were used
    tuning: Mapping[tuple[str, str], Sequence[Record]]  # by cell and arm
    final: Mapping[tuple[str, str, int], Sequence[Record]]  # by cell, arm and length
    other_results: int = 0  # test results in the folder that are not those of `final`


def run_success(
    measurement: Measurement,
    folder: Path,
    workers: int = 1,
    observer: Observer | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    replicas: int | None = None,
    device: str | None = None,
    cluster: Cluster | None = None,
) -> SuccessResults:
    """Run the trials that have no record in `folder` yet and return all records.

    A measurement that was killed at any moment is resumed by the same call. A folder may hold several measurements:
    each record belongs to one trial, so that adding seeds, lengths or cells trains only the new trials. Arguments and
    errors are those of `steadystep.lab.execution.run_study.run_study`.
    """
    if workers > 1 and cluster is None:
        warm_up()  # while this process loads the data
    observer, where = observer or Silent(), trial_device(device, cluster)
    store = Store(folder, observer.warning)
    store.prepare()
    chosen: dict[tuple[str, str], Trial] = {}
    tuning: dict[tuple[str, str], Sequence[Record]] = {}
    final: dict[tuple[str, str, int], Sequence[Record]] = {}
    tuned_at = measurement.tuned_at
    lengths = (tuned_at, *(length for length in measurement.lengths if length != tuned_at))
    with connected(cluster, workers, where):
        for cell, length in product(measurement.cells, lengths):
            task = measurement.task(cell, length)
            study, splits = measurement.study(task), task.load(None)
            allowed = allowed_replicas(replicas or task.replicas, task, splits, observer, where)
            job = Job(task, None, folder, checkpoint_seconds, allowed, where, this_rank())
            with stage_runner(job, splits, workers, observer, cluster) as run_stage:
                if length == tuned_at:
                    tuned = tune(study, task, splits.fingerprint, run_stage)
                    for arm in study.arms:
                        chosen[cell, arm.name] = tuned.chosen[arm.name, study.epochs]
                        tuning[cell, arm.name] = tuned.records[arm.name, study.epochs]
                runs = {
                    arm.name: final_trials(study, task, splits.fingerprint, arm, chosen[cell, arm.name])
                    for arm in study.arms
                }
                records = run_stage(f"{cell}, T = {length}", [trial for trials in runs.values() for trial in trials])
            for arm, trials in runs.items():
                final[cell, arm, length] = [records[trial.id] for trial in trials]
    own = {record.trial.id for records in (*tuning.values(), *final.values()) for record in records}
    return SuccessResults(measurement, chosen, tuning, final, len(store.test_results(leave_out=own)))
