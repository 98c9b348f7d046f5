"""Run a sample of a study's trials again, and say whether they agree within what machines differ by."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import torch

from steadystep.lab.errors import UserError
from steadystep.lab.execution.observer import Observer, Silent
from steadystep.lab.execution.run_study import read_study
from steadystep.lab.execution.stage_runner import allowed_replicas, stage_runner
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.worker import Job
from steadystep.lab.study.records import Results, Run
from steadystep.lab.tasks import find_task
from steadystep.lab.training.device import find_device
from steadystep.lab.training.environment import this_environment
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS
from steadystep.lab.training.trial import Trial

SPREADS = 3
"""How many standard deviations of the difference of two seeds a trial may differ from its record."""


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
class Verification:
    """The outcome of running a sample of a study's trials again."""

    results: Results
    reruns: tuple[Rerun, ...]

    @property
    def agrees(self) -> bool:
        """Whether every trial agrees, and their mean difference is not larger than chance explains."""
        finished = [rerun for rerun in self.reruns if not math.isnan(rerun.difference)]
        shift = abs(fmean(rerun.difference for rerun in finished)) if finished else 0.0
        allowed = math.sqrt(sum(rerun.allowed**2 for rerun in finished)) / len(finished) if finished else 0.0
        return all(rerun.agrees for rerun in self.reruns) and shift <= max(allowed, self.results.task.margin)


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
    seed, but not worse: the test accuracy of a trial may differ by three standard deviations of the difference of two
    seeds of its arm, and in any case by the margin below which the study calls arms equivalent. The same sample is
    drawn each time, and the same call resumes a verification that was stopped. Records of a verification that ended,
    or of another machine or other versions of the libraries, are replaced.

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
            new records would be written among those of the study.
    """
    observer, where = observer or Silent(), find_device(device)
    if folder.resolve() == published.resolve():
        raise UserError(f"{folder} contains the records to verify: choose another folder for the new ones with --out")
    declared = Store(published).declared()
    task = find_task(declared.study.task)
    if task.version != declared.task_version:
        raise UserError(
            f"{published} was run with version {declared.task_version} of {task.name}, and this is version "
            f"{task.version}: its trials cannot be run again"
        )
    splits = task.load(data)
    if splits.fingerprint != declared.data:
        raise UserError(
            f"{published} was run on other data: the fingerprint there is {declared.data}, here {splits.fingerprint}"
        )
    results = read_study(published, observer)
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
    return Verification(
        results,
        tuple(
            Rerun(run.arm, run.budget, run.record, again[run.record.trial.id], _allowed(results, run)) for run in sample
        ),
    )


def _discard_earlier(store: Store, trials: Sequence[Trial], device: torch.device) -> None:
    """Delete records of other machines or versions, and all of them if an earlier verification was finished."""

    def is_from_here(record: Record) -> bool:
        here = this_environment(record.trial.dtype, device)
        return here.model_copy(update={"threads": record.environment.threads}) == record.environment

    found = [store.read(trial, set_aside=True) for trial in trials]
    ended = all(found)
    for record in found:
        if record and (ended or not is_from_here(record)):
            store.discard(record.trial)


def _sample(results: Results, trials: int) -> Sequence[Run]:
    """Draw final runs, one of each arm and budget in turn, the same ones each time."""
    draw = random.Random(0)
    cells = [
        draw.sample([Run(arm, budget, record) for record in records], len(records))
        for (arm, budget), records in sorted(results.final.items(), key=lambda item: (-item[0][1], item[0][0]))
    ]
    turns = [cell[turn] for turn in range(max(map(len, cells))) for cell in cells if turn < len(cell)]
    return turns[:trials]


def _allowed(results: Results, run: Run) -> float:
    records = results.final[run.arm, run.budget]
    tests = [record.test_accuracy for record in records if record.test_accuracy is not None]
    spread = stdev(tests) if len(tests) > 1 else 0.0
    return max(SPREADS * math.sqrt(2) * spread, results.task.margin)
