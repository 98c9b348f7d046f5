"""The table of the cost of a step and of a run."""

from steadystep.lab.report.cells import flops, quantity, seconds, share
from steadystep.lab.report.headline import headline_rows
from steadystep.lab.report.table import Column, Table
from steadystep.lab.report.timing_words import timing_note
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results


def cost_table(results: Results, summary: Summary) -> Table:
    """Return one row per arm, at the headline budget."""
    rows = headline_rows(results, summary)
    return Table.of(
        "Cost",
        [
            Column("Arm"),
            Column("Step", "ms", "number", meaning="batch, forward, backward and optimizer"),
            Column("Optimizer", "ms", "number", meaning="including clipping"),
            Column("Optimizer", "% of step", "number"),
            Column("Steps per run", kind="number"),
            Column("Time per run", kind="number", meaning="mean wall time"),
            Column("FLOPs per run", kind="number", meaning="forward and backward only"),
        ],
        [
            [
                row.arm,
                quantity(row.step_ms),
                quantity(row.optimizer_ms),
                share(row.optimizer_ms, row.step_ms),
                f"{row.steps:,}",
                seconds(row.seconds),
                flops(row.flops),
            ]
            for row in rows
        ],
        details="The times of a step are medians over runs of each run's median." + timing_note(rows),
    )
