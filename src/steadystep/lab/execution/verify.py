"""Run a sample of a study's trials again, and say whether they agree within what machines differ by."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from steadystep.lab.counted import count
from steadystep.lab.errors import UserError
from steadystep.lab.execution.archive import NAME as PACKED
from steadystep.lab.execution.observer import Observer, Silent
from steadystep.lab.execution.run_study import read_study
from steadystep.lab.execution.stage_runner import allowed_replicas, stage_runner
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.worker import Job
from steadystep.lab.statistics.agreement import allowed_differences
from steadystep.lab.study.records import Results, Run
from steadystep.lab.system.atomic import store_errors, write_atomic
from steadystep.lab.training.device import find_device
from steadystep.lab.training.environment import this_environment
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS
from steadystep.lab.training.trial import Trial

ENDED = "verification.json"
"""The file in the folder of the new records that says how a verification ended."""


@dataclass(frozen=True)
class Rerun:
    """A trial of a study, its record, and the record of running it again. Accuracies are fractions of 1."""

    arm: str
    budget: int
    recorded: Record
    again: Record
    allowed: float  # by how much the test accuracies may differ

    @property
    def difference(self) -> float:
        """The test accuracy of the second run minus that of the first; NaN if one of them diverged."""
        first, second = self.recorded.test_accuracy, self.again.test_accuracy
        return math.nan if first is None or second is None else second - first

    @property
    def identical(self) -> bool:
        """Whether both runs have the same losses in every epoch, and the same results."""
        parts = [
            (record.outcome, record.curve.model_dump_json(), record.test_accuracy, record.test_loss)
            for record in (self.recorded, self.again)
        ]
        return parts[0] == parts[1]

    @property
    def agrees(self) -> bool:
        """Whether both runs diverged, or both finished with nearly the same test accuracy."""
        if self.recorded.outcome != self.again.outcome:
            return False
        return math.isnan(self.difference) or abs(self.difference) <= self.allowed + 1e-12


@dataclass(frozen=True)
class Shift:
    """A mean difference, and how large chance may make it, as fractions of 1."""

    mean: float
    allowed: float


@dataclass(frozen=True)
class Verification:
    """The outcome of running a sample of a study's trials again."""

    results: Results
    reruns: tuple[Rerun, ...]

    @property
    def agrees(self) -> bool:
        """Whether every trial agrees, and the mean differences are not larger than chance explains."""
        return all(rerun.agrees for rerun in self.reruns) and not self.shifts

    @property
    def shifts(self) -> Mapping[str, "Shift"]:
        """The mean differences that are larger than chance explains, by arm and budget, and that of all trials."""
        finished = [rerun for rerun in self.reruns if not math.isnan(rerun.difference)]
        groups: dict[str, list[Rerun]] = {}
        for rerun in finished:
            groups.setdefault(f"{rerun.arm} after {count(rerun.budget, 'epoch')}", []).append(rerun)
            groups.setdefault("all trials", []).append(rerun)
        shifts = {
            name: Shift(
                fmean(rerun.difference for rerun in group),
                math.sqrt(math.fsum(rerun.allowed**2 for rerun in group)) / len(group),
            )
            for name, group in groups.items()
        }
        return {name: shift for name, shift in shifts.items() if abs(shift.mean) > shift.allowed + 1e-12}


def verify(
    published: Path,
    trials: int,
    data: Path | None,
    folder: Path,
    workers: int = 1,
    observer: Observer | None = None,
    device: str | None = None,
) -> Verification:
    """Run a sample of the final trials of a finished study again, equally many of each arm as far as possible.

    Rounding differs between processors and grows while a network trains, so that another machine may end like another
    seed, but not worse; see `allowed_differences`. The mean difference of each arm at each budget, and that of all
    trials, may be as large as chance makes those of so many trials. The same sample is drawn each time, and the same
    call resumes a verification that was stopped. Records of a verification that ended, or of another machine or other
    versions of the libraries, are replaced.

    Args:
        published: the folder of the study, with its records loose or packed. Nothing is written there.
        trials: the number of trials to run again.
        data: folder with local data sets, or None.
        folder: folder of the new records.
        workers: number of trials that run at the same time.
        observer: receives the progress.
        device: "cpu", "cuda" or "cuda:N". Default: the CPU.

    Raises:
        UserError: if the study is unfinished or broken, or the data or the task are not those of its records, or the
            new records would be written into the folder of a study.
    """
    observer, where = observer or Silent(), find_device(device)
    if any((folder / name).exists() for name in ("study.json", PACKED)):
        raise UserError(f"{folder} contains the records of a study: choose another folder for the new ones with --out")
    results = read_study(published, observer)
    task, recorded = results.task, Store(published).declared().data
    splits = task.load(data)
    if splits.fingerprint != recorded:
        raise UserError(
            f"{published} was run on other data: the fingerprint there is {recorded}, here {splits.fingerprint}"
        )
    sample = _sample(results, trials)
    observer.study_extended(sum(run.record.trial.epochs for run in sample))
    store = Store(folder, observer.warning)
    store.prepare()
    _discard_earlier(store, [run.record.trial for run in sample], where)
    job = Job(
        task, data, folder, CHECKPOINT_SECONDS, allowed_replicas(task.replicas, task, splits, observer, where), where
    )
    with stage_runner(job, splits, workers, observer) as run_stage:
        again = run_stage("verification", [run.record.trial for run in sample])
    verification = Verification(results, _compared(results, sample, again))
    write_atomic(folder / ENDED, json.dumps(_outcome(verification), indent=1) + "\n")
    return verification


def _discard_earlier(store: Store, trials: Sequence[Trial], device: torch.device) -> None:
    """Delete records of other machines or versions, and all of them if an earlier verification has ended."""

    def is_from_here(record: Record) -> bool:
        here = this_environment(record.trial.dtype, device)
        return here.model_copy(update={"threads": record.environment.threads}) == record.environment

    end = store.folder / ENDED
    ended = end.exists()
    for record in [store.read(trial, set_aside=True) for trial in trials]:
        if record and (ended or not is_from_here(record)):
            store.discard(record.trial)
    with store_errors(end):
        end.unlink(missing_ok=True)


def _sample(results: Results, trials: int) -> Sequence[Run]:
    """Draw final runs, one of each arm and budget in turn, the same ones each time."""
    draw = random.Random(0)
    cells = [
        draw.sample([Run(arm, budget, record) for record in records], len(records))
        for (arm, budget), records in sorted(results.final.items(), key=lambda item: (-item[0][1], item[0][0]))
    ]
    turns = [cell[turn] for turn in range(max(map(len, cells))) for cell in cells if turn < len(cell)]
    return turns[:trials]


def _compared(results: Results, sample: Sequence[Run], again: Mapping[str, Record]) -> tuple[Rerun, ...]:
    reruns = [Rerun(run.arm, run.budget, run.record, again[run.record.trial.id], math.nan) for run in sample]
    others = [
        [
            record.test_accuracy
            for record in results.final[run.arm, run.budget]
            if record.test_accuracy is not None and record.trial.id != run.record.trial.id
        ]
        for run in sample
    ]
    allowed = allowed_differences([rerun.identical for rerun in reruns], others, results.task.margin)
    return tuple(replace(rerun, allowed=most) for rerun, most in zip(reruns, allowed, strict=True))


def _outcome(verification: Verification) -> dict[str, Any]:
    """Return what a verification found, as JSON."""
    return {
        "agrees": verification.agrees,
        "trials": [
            {
                "id": rerun.recorded.trial.id,
                "arm": rerun.arm,
                "recorded": rerun.recorded.test_accuracy,
                "again": rerun.again.test_accuracy,
                "allowed": rerun.allowed,
                "identical": rerun.identical,
            }
            for rerun in verification.reruns
        ],
    }
