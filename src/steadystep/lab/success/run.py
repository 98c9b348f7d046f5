"""From a declared measurement to its records; the same call resumes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steadystep.lab.execution.observer import Observer, Silent
from steadystep.lab.execution.obtain import allowed_replicas, obtaining
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.worker import Job
from steadystep.lab.study.stages import final_trials, tune
from steadystep.lab.success.declare import Measurement
from steadystep.lab.training.device import find_device
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS
from steadystep.lab.training.trial import Trial


@dataclass(frozen=True)
class SuccessResults:
    """The records of a measurement. Final ones are in the order of their seeds: they pair up."""

    measurement: Measurement
    chosen: Mapping[tuple[str, str], Trial]  # by cell and arm: the tuning trial whose lr and clip were used
    tuning: Mapping[tuple[str, str], Sequence[Record]]  # by cell and arm
    final: Mapping[tuple[str, str, int], Sequence[Record]]  # by cell, arm and length


def run_success(
    measurement: Measurement,
    folder: Path,
    workers: int = 1,
    observer: Observer | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    replicas: int | None = None,
    device: str | None = None,
) -> SuccessResults:
    """Run what is not on record in `folder` yet, and return everything. Killed at any moment, it goes on from there.

    A folder may hold several measurements: a record belongs to its trial, so more seeds, lengths or cells train only
    what is new. Arguments and errors are those of `steadystep.lab.execution.run_study.run_study`.
    """
    observer, where = observer or Silent(), find_device(device)
    Store(folder, observer.warning).prepare()
    chosen: dict[tuple[str, str], Trial] = {}
    tuning: dict[tuple[str, str], Sequence[Record]] = {}
    final: dict[tuple[str, str, int], Sequence[Record]] = {}
    at = measurement.tuned_at
    for cell in measurement.cells:
        for length in (at, *(length for length in measurement.lengths if length != at)):
            task = measurement.task(cell, length)
            study, splits = measurement.study(task), task.load(None)
            allowed = allowed_replicas(replicas or task.replicas, task, splits, observer, where)
            job = Job(task, None, folder, checkpoint_seconds, allowed, where)
            with obtaining(job, splits, workers, observer) as obtain:
                if length == at:
                    tuned = tune(study, task, splits.fingerprint, obtain)
                    for arm in study.arms:
                        chosen[cell, arm.name] = tuned.chosen[arm.name, study.epochs]
                        tuning[cell, arm.name] = tuned.records[arm.name, study.epochs]
                runs = {
                    arm.name: final_trials(study, task, splits.fingerprint, arm, chosen[cell, arm.name])
                    for arm in study.arms
                }
                found = obtain(f"{cell}, T = {length}", [trial for trials in runs.values() for trial in trials])
            for arm, trials in runs.items():
                final[cell, arm, length] = [found[trial.id] for trial in trials]
    return SuccessResults(measurement, chosen, tuning, final)
