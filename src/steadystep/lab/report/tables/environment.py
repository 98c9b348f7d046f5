"""What the runs were measured on."""

from steadystep.lab.report.cells import distinct
from steadystep.lab.report.runs import all_runs
from steadystep.lab.report.tables.table import Column, Table
from steadystep.lab.study.record import Environment
from steadystep.lab.study.results import Results

UNITS = {"memory_gib": "memory, GiB"}


def environment_table(results: Results) -> Table:
    """One row a field; where runs differ, all values, the most frequent first."""
    machines = [run.environment.model_dump() for run in all_runs(results)]
    return Table.of(
        "Environment",
        [Column("Field"), Column("Value", kind="prose")],
        [
            [UNITS.get(field, field), distinct(_text(machine[field]) for machine in machines)]
            for field in Environment.model_fields
        ],
    )


def _text(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
