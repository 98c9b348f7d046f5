"""Success rates and accuracies with their confidence intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from steadystep.lab.statistics.reported import accuracy_estimate, share_estimate
from steadystep.lab.statistics.summary import Estimate
from steadystep.lab.success.run import SuccessResults
from steadystep.lab.tasks.rnn import SUCCESS
from steadystep.lab.training.record import Record


@dataclass(frozen=True)
class Rate:
    """The success rate of one arm with one cell at one length."""

    cell: str
    arm: str
    length: int
    lr: float
    threshold: float | None  # of the clipper; None for an unclipped arm
    runs: int
    succeeded: int
    diverged: int
    success: Estimate  # share of successful runs; Wilson interval
    accuracy: Estimate  # share of correct test sequences; t interval over runs; a diverged run counts at chance level


def succeeded(record: Record) -> bool:
    """Return whether the run was correct on more than 99% of the test sequences; False for a diverged run."""
    return record.test_accuracy is not None and record.test_accuracy > SUCCESS


def summarise_success(results: SuccessResults) -> list[Rate]:
    """Summarise the runs by cell, arm and length, in the order of the declaration."""
    measurement = results.measurement
    return [
        _rate(results, cell, arm.name, length, results.final[cell, arm.name, length])
        for cell in measurement.cells
        for arm in measurement.arms
        for length in measurement.lengths
    ]


def _rate(results: SuccessResults, cell: str, arm: str, length: int, records: Sequence[Record]) -> Rate:
    chosen, successes = results.chosen[cell, arm], sum(succeeded(record) for record in records)
    chance = results.measurement.task(cell, length).chance
    return Rate(
        cell,
        arm,
        length,
        lr=chosen.lr,
        threshold=chosen.clip.threshold if chosen.clip else None,
        runs=len(records),
        succeeded=successes,
        diverged=sum(record.outcome == "diverged" for record in records),
        success=share_estimate(successes, len(records)),
        accuracy=accuracy_estimate([chance if run.test_accuracy is None else run.test_accuracy for run in records]),
    )
