"""What optimizers and clippers cost, as a document."""

from collections.abc import Sequence

from steadystep.lab.cost.measure import CostResults
from steadystep.lab.cost.summary import CostSummary, Quartiles, summarise_costs
from steadystep.lab.report.cells import count, percent
from steadystep.lab.report.cost.figure import cost_figure
from steadystep.lab.report.cost.tables import costs_table, setting_table
from steadystep.lab.report.document import Document, Section
from steadystep.lab.report.sheets import as_csv
from steadystep.lab.report.tables import machines_table


def cost_document(results: CostResults, command: str) -> Document:
    """Everything that was measured. `command` is what reproduces it."""
    rows = summarise_costs(results)
    return Document(
        name="cost",
        subject=results.task.name,
        title=f"Cost of optimizers and clippers: {results.task.title}",
        lede=answer(rows),
        facts=(
            count(len(rows), "arm"),
            count(results.rounds, "round"),
            count(results.parameters, "parameter"),
            f"batch size {results.batch_size}",
            count(results.environment.threads, "thread"),
        ),
        notes=(
            "Times are of this model, batch and machine: the smaller the model, the more of a step is overhead that "
            "does not grow with it.",
        ),
        sections=(
            Section("Time", (cost_figure(results, rows),)),
            Section("Cost of a step", tables=(costs_table(rows),)),
        ),
        setting=(setting_table(results), machines_table([results.environment])),
        sheets={"cost.csv": _csv(results, rows)},
        command=command,
    )


def answer(rows: Sequence[CostSummary]) -> str:
    """The cheapest and the dearest optimizer, and what clippers add."""
    alone = sorted((row for row in rows if not row.arm.clip), key=lambda row: row.share.median)
    said = f"The optimizer takes {percent(alone[0].share.median, 0)}% of a training step ({alone[0].arm.name})"
    if len(alone) > 1:
        said += f" to {percent(alone[-1].share.median, 0)}% ({alone[-1].arm.name})"
    added = sorted((row.added.median, row.arm.name) for row in rows if row.added)
    if added:
        ends = " to ".join(f"{max(ms, 0.0):.2g} ms ({name})" for ms, name in dict.fromkeys((added[0], added[-1])))
        said += f"; clipping adds {ends}"
    return f"{said}."


def _csv(results: CostResults, rows: Sequence[CostSummary]) -> str:
    """One row an arm. A statistic takes three columns: its median, and the quartiles under name_low and name_high."""
    return as_csv(
        [
            {
                "task": results.task.name,
                "arm": row.arm.name,
                "optimizer": row.arm.optimizer,
                "clip": row.arm.clip,
                "threshold": row.threshold,
                **_columns("forward_backward_ms", row.forward_backward),
                **_columns("optimizer_ms", row.optimizer),
                **_columns("share", row.share),
                **_columns("times_sgd", row.relative),
                **_columns("added_ms", row.added),
                "state_bytes_per_parameter": row.bytes_per_parameter,
                "threads": results.environment.threads,
                "processor": results.environment.processor,
            }
            for row in rows
        ]
    )


def _columns(name: str, value: Quartiles | None) -> dict[str, float | None]:
    if value is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: value.median, f"{name}_low": value.low, f"{name}_high": value.high}
