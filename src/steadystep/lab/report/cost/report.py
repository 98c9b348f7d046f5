"""The document of the cost of optimizers and clippers."""

from collections.abc import Sequence

from steadystep.lab.cost.measure import CostResults
from steadystep.lab.cost.summary import CostSummary, Quartiles, summarise_costs
from steadystep.lab.counted import count
from steadystep.lab.report.cells import percent
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
    shares = [(row.share.median, f"{percent(row.share.median, 0)}%", row.arm.name) for row in rows if not row.arm.clip]
    text = f"The optimizer takes {_ends(shares, ' of a training step')}"
    added = [(row.added.median, _added(row.added.median), row.arm.name) for row in rows if row.added]
    return f"{text}; clipping adds {_ends(added)}." if added else f"{text}."


def _ends(values: Sequence[tuple[float, str, str]], whole: str = "") -> str:
    """Return the smallest and the largest value as text with the names of their arms, or their common text."""
    (_, least, cheapest), (_, most, dearest) = min(values), max(values)
    if len(values) == 1:
        return f"{least}{whole} ({cheapest})"
    return f"{least}{whole} in every arm" if least == most else f"{least}{whole} ({cheapest}) to {most} ({dearest})"


def _added(milliseconds: float) -> str:
    """Return the time that a clipper adds; noise can make it negative."""
    if milliseconds <= 0:
        return "no measurable time"
    return f"{milliseconds:.2g} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"


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
