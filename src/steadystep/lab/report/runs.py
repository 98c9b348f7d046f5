"""All runs of a study, including tuning runs."""

from itertools import chain
from math import fsum, isfinite

from steadystep.lab.study.records import Results
from steadystep.lab.training.record import Record


def all_runs(results: Results) -> list[Record]:
    """Return every record, tuning runs first."""
    return [*chain.from_iterable(results.tuning.values()), *chain.from_iterable(results.final.values())]


def total_seconds(results: Results) -> float:
    """Return the total wall time of all runs."""
    return fsum(run.times.wall_seconds for run in all_runs(results) if isfinite(run.times.wall_seconds))
