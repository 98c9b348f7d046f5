"""The document of the cost of optimizers and clippers."""

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
    """Return the document of a measurement. `command` is the command that reproduces it."""
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
            "The times hold for this model, batch size and machine. The smaller the model, the larger the share of "
            "overhead that does not grow with the model.",
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
    """State the cost of the cheapest and the most expensive optimizer, and the time that clipping adds."""
    unclipped = sorted((row for row in rows if not row.arm.clip), key=lambda row: row.share.median)
    text = f"The optimizer takes {percent(unclipped[0].share.median, 0)}% of a training step ({unclipped[0].arm.name})"
    if len(unclipped) > 1:
        text += f" to {percent(unclipped[-1].share.median, 0)}% ({unclipped[-1].arm.name})"
    added = sorted((row.added.median, row.arm.name) for row in rows if row.added)
    if added:
        ends = " to ".join(f"{max(ms, 0.0):.2g} ms ({name})" for ms, name in dict.fromkeys((added[0], added[-1])))
        text += f"; clipping adds {ends}"
    return f"{text}."


def _csv(results: CostResults, rows: Sequence[CostSummary]) -> str:
    """Return one row per arm. Each statistic has three columns: its median and the quartiles NAME_low and NAME_high."""
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
