"""The table of the cost of a step and of a run."""

from steadystep.lab.report.cells import flops, quantity, seconds, share
from steadystep.lab.report.headline import headline_rows
from steadystep.lab.report.tables.table import Column, Table
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
            Column("Step", "ms", "number"),
            Column("Optimizer", "ms", "number"),
            Column("Optimizer", "% of step", "number"),
            Column("Steps per run", kind="number"),
            Column("Time per run", kind="number"),
            Column("FLOPs per run", kind="number"),
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
        "Step: batch, forward, backward and optimizer, the median over runs of each run's median. Optimizer: including "
        "clipping. Time: mean wall time. FLOPs: forward and backward, without the optimizer." + timing_note(rows),
    )
