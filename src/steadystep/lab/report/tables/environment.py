"""The table of the environment of the runs."""

from collections.abc import Iterable

from steadystep.lab.report.cells import distinct
from steadystep.lab.report.runs import all_runs
from steadystep.lab.report.table import Column, Table
from steadystep.lab.study.records import Results
from steadystep.lab.training.record import Environment

UNITS = {"memory_gib": "memory, GiB"}


def environment_table(results: Results) -> Table:
    """Return the environment of the runs of a study."""
    return machines_table([run.environment for run in all_runs(results)])


def machines_table(environments: Iterable[Environment]) -> Table:
    """Return one row per field; if runs differ, the row lists all values, with the most frequent first."""
    machines = [environment.model_dump() for environment in environments]
    return Table.of(
        "Environment",
        [Column("Field"), Column("Value", kind="prose")],
        [
            [UNITS.get(field, field), distinct(_text(machine[field]) for machine in machines)]
            for field in Environment.model_fields
        ],
        "The machine and the software of the runs; of several values, the most frequent one is first.",
        "On another processor, sums are rounded in another order: tuning may choose another setting, and results "
        "differ in their last digits. What should stay are the verdicts; `steadystep verify` runs a sample again.",
    )


def _text(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
