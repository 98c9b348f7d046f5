"""The tables of the cost of optimizers and clippers."""

from collections.abc import Sequence

from steadystep.lab.cost.arms import REFERENCE
from steadystep.lab.cost.measure import CostResults
from steadystep.lab.cost.summary import CostSummary, Quartiles
from steadystep.lab.report.cells import NOTHING, percent, quantity
from steadystep.lab.report.tables import Column, Table


def costs_table(rows: Sequence[CostSummary]) -> Table:
    """Return the cost of a step, with one row per arm."""
    return Table.of(
        "Cost of a step",
        [
            Column("Arm"),
            Column("Forward, backward", "ms", "number", meaning="including loading the batch"),
            Column("Optimizer", "ms", "number", meaning="including clipping, guard and ledger"),
            Column("Optimizer", "quartiles", "number"),
            Column("Optimizer", "% of step", "number"),
            Column("Optimizer", f"times {REFERENCE}", "number"),
            Column("Clipping adds", "ms", "number", meaning="the difference from the unclipped arm"),
            Column("State", "bytes/parameter", "number", meaning="what is stored between steps"),
        ],
        [
            [
                row.arm.name,
                quantity(row.forward_backward.median),
                quantity(row.optimizer.median),
                _spread(row.optimizer),
                percent(row.share.median, 1),
                f"{row.relative.median:.2f}",
                NOTHING if row.added is None else f"{row.added.median:+.2g}".replace("-", "−"),
                f"{row.bytes_per_parameter:.2f}",
            ]
            for row in rows
        ],
        details=f"Medians over rounds. Times {REFERENCE} and what clipping adds: medians of the ratio and of the "
        "difference within each round. State: tensors of optimizer and clipper, without parameters and gradients, "
        "which take 4 bytes each in float32. All options are the defaults.",
    )


def setting_table(results: CostResults) -> Table:
    """Return the settings of the measurement."""
    thresholds = [f"{cost.arm.name} {cost.threshold:.3g}" for cost in results.costs if cost.threshold]
    return Table.of(
        "Measurement",
        [Column("Field"), Column("Value", kind="prose")],
        [
            ["Task", f"{results.task.name}, version {results.task.version}"],
            ["Model parameters", f"{results.parameters:,}"],
            ["Batch size", str(results.batch_size)],
            ["Rounds", f"{results.rounds}; each with one turn per arm"],
            ["Thresholds", ", ".join(thresholds) or NOTHING],
        ],
        "A turn takes a few steps of one arm; an arm is an optimizer with its defaults, with or without a clipper.",
    )


def _spread(value: Quartiles) -> str:
    return f"{quantity(value.low)} to {quantity(value.high)}"
