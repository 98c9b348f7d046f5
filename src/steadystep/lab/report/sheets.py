"""The numbers of a study as CSV at full precision, without percentages or rounding."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from steadystep.lab.statistics.summary import Estimate, Summary, Verdict
from steadystep.lab.study.records import Results
from steadystep.lab.tasks.loss_unit import LossUnit

Row = Mapping[str, Any]

FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""First characters of a text that a spreadsheet may run as a formula; the last four are those of wide fonts."""


VERDICT_COLUMNS = tuple(
    field.name + end
    for field in fields(Verdict)
    for end in (("", "_low", "_high") if field.type is Estimate else ("",))
)
"""The header of the verdicts, which a study of a single arm has none of."""


def summary_csv(results: Results, summary: Summary) -> str:
    """Return `summary_rows` as CSV; nan means not measured, and an empty cell means not applicable."""
    return as_csv(summary_rows(results, summary))


def verdicts_csv(summary: Summary) -> str:
    """Return `verdict_rows` as CSV."""
    return as_csv(verdict_rows(summary), VERDICT_COLUMNS)


def convergence_csv(summary: Summary) -> str:
    """Return `convergence_rows` as CSV; `epochs` is empty if fewer than half of the runs converged."""
    return as_csv(convergence_rows(summary))


def summary_rows(results: Results, summary: Summary) -> list[Row]:
    """Return one row for each arm and budget, with every number of its summary and the paper's claim.

    Accuracies and rates are fractions of 1. Losses are in nats; if the task has a unit for its losses, the test loss in
    that unit has columns too. Further test metrics have names such as test_top_5. An estimate has three columns: the
    mean under its name, and the ends of its 95% interval under name_low and name_high. nan means not measured, and
    None means not applicable.
    """
    rows: list[Row] = []
    for row in summary.arms:
        chosen, claim = results.chosen[row.arm, row.budget], results.task.claims.get(row.arm)
        fields = asdict(row)
        also = fields.pop("test_also")
        rows.append(
            flat(
                {
                    "task": results.task.name,
                    "optimizer": chosen.optimizer,
                    "clip": chosen.clip.kind if chosen.clip else None,
                    **fields,
                    **{also_column(name): share for name, share in also.items()},
                    **_in_unit(row.test_loss, results.task.loss_unit),
                    "paper_accuracy": claim.accuracy if claim else None,
                    "paper_epochs": claim.epochs if claim else None,
                }
            )
        )
    return rows


def verdict_rows(summary: Summary) -> list[Row]:
    """Return one row for each pair of arms. Differences and margins are fractions of 1."""
    return [flat(asdict(verdict)) for verdict in summary.verdicts]


def convergence_rows(summary: Summary) -> list[Row]:
    """Return one row for each arm and definition. `epochs` is None if fewer than half of the runs converged."""
    return [asdict(row) for row in summary.convergence]


def also_column(name: str) -> str:
    """Return the name of the column of a further test metric.

    >>> also_column("top-5")
    'test_top_5'
    """
    return f"test_{name.replace('-', '_')}"


def _in_unit(loss: Estimate, unit: LossUnit | None) -> Row:
    return {f"test_{unit.name}": {end: unit.of(nats) for end, nats in asdict(loss).items()}} if unit else {}


def as_csv(rows: Sequence[Row], columns: Sequence[str] = ()) -> str:
    """Return rows that all have the same fields as CSV with a header; an estimate takes up three columns.

    `columns` are the names in the header if there are no rows.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which makes it a text there.
    """
    texts = [{_as_text(name): _as_text(value) for name, value in flat(row).items()} for row in rows]
    header = list(texts[0]) if texts else list(columns)
    return "".join(_line(cells) for cells in (header, *([row[name] for name in header] for row in texts)))


def flat(row: Row) -> dict[str, Any]:
    """Return the row with three fields for each estimate: NAME for the mean, NAME_low and NAME_high for the interval.

    >>> flat({"arm": "Adam", "loss": {"mean": 0.5, "low": 0.4, "high": 0.6}})
    {'arm': 'Adam', 'loss': 0.5, 'loss_low': 0.4, 'loss_high': 0.6}
    """
    columns: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):  # an estimate
            columns |= {name if part == "mean" else f"{name}_{part}": number for part, number in value.items()}
        else:
            columns[name] = value
    return columns


def _line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    # Python quotes a text with a carriage return only if lines end with one; unquoted, it would end the line.
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _as_text(cell: Any) -> Any:
    """Return the cell; a text that starts like a formula gets an apostrophe in front. A number stays a number."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
