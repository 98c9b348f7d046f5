"""All runs of a study, including tuning runs."""

from itertools import chain
from math import fsum, isfinite

from steadystep.lab.study.records import Results
from steadystep.lab.training.record import Record


def all_runs(results: Results) -> list[Record]:
    """Return every record once, tuning runs first; budgets may share tuning runs."""
    runs = chain.from_iterable([*results.tuning.values(), *results.final.values()])
    return list({run.trial.id: run for run in runs}.values())


def total_seconds(results: Results) -> float:
    """Return the total wall time of all runs."""
    return fsum(run.times.wall_seconds for run in all_runs(results) if isfinite(run.times.wall_seconds))
