"""The runs and the statistics of a study as pandas data frames.

Accuracies and rates are fractions of 1, losses are in nats and times in the unit of their name. The names and the
values are those of the records and of the CSV files. A value that was not measured, or does not apply, is missing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from steadystep.lab.report.sheets import Row, also_column, convergence_rows, summary_rows, verdict_rows
from steadystep.lab.statistics.summary import ArmSummary, Convergence, Estimate, Summary, Verdict
from steadystep.lab.study.records import Results, Run
from steadystep.lab.training.record import Curve

TEXT, FLOAT, COUNT, FLAG = "string", "float64", "int64", "bool"

DTYPES: Mapping[Any, str] = {
    str: TEXT,
    int: COUNT,
    bool: FLAG,
    float: FLOAT,
    float | None: FLOAT,
    int | None: "Int64",
}
"""The dtype of a column, by the type of the field that it is made of."""

Columns = Mapping[str, tuple[str, Callable[[Run], Any]]]

STAGES = {"tune": "tuning", "final": "final"}

IDENTITY: Columns = {
    "arm": (TEXT, lambda run: run.arm),
    "budget": (COUNT, lambda run: run.budget),
    "stage": (TEXT, lambda run: STAGES[run.record.trial.role]),
    "optimizer": (TEXT, lambda run: run.record.trial.optimizer),
    "clip": (TEXT, lambda run: run.record.trial.clip and run.record.trial.clip.kind),
    "lr": (FLOAT, lambda run: run.record.trial.lr),
    "threshold": (FLOAT, lambda run: run.record.trial.clip and run.record.trial.clip.threshold),
    "seed": (COUNT, lambda run: run.record.trial.seed),
    "trial": (TEXT, lambda run: run.record.trial.id),
}
"""The columns that `trials` and `curves` share."""

OUTCOME: Columns = {
    "epochs": (COUNT, lambda run: run.record.trial.epochs),
    "diverged": (FLAG, lambda run: run.record.outcome == "diverged"),
    "reason": (TEXT, lambda run: run.record.reason or None),
    "val_accuracy": (FLOAT, lambda run: run.record.val_accuracy),
    "val_loss": (FLOAT, lambda run: run.record.val_loss),
    "test_accuracy": (FLOAT, lambda run: run.record.test_accuracy),
    "test_loss": (FLOAT, lambda run: run.record.test_loss),
    "clip_rate": (FLOAT, lambda run: run.record.clip_rate),
    "steps": (COUNT, lambda run: run.record.steps),
    "parameters": (COUNT, lambda run: run.record.parameters),
    "flops": (FLOAT, lambda run: run.record.flops),
    "seconds": (FLOAT, lambda run: run.record.times.wall_seconds),
    "step_ms": (FLOAT, lambda run: run.record.times.step_ms),
    "optimizer_ms": (FLOAT, lambda run: run.record.times.optimizer_ms),
    "replicas": (COUNT, lambda run: run.record.replicas),
    "dtype": (TEXT, lambda run: run.record.trial.dtype),
    "device": (TEXT, lambda run: run.record.environment.device),
}
"""The columns of `trials` after those of `IDENTITY`."""


def trials_frame(runs: Iterable[Run], also: Iterable[str] = ()) -> pd.DataFrame:
    """Return one row for each run; `also` names the further test metrics of the task, such as top-5."""
    further: Columns = {also_column(name): (FLOAT, _also(name)) for name in also}
    columns = {**IDENTITY, **OUTCOME, **further}
    return _frame([_row(run, columns) for run in runs], {name: dtype for name, (dtype, _) in columns.items()})


def curves_frame(runs: Iterable[Run]) -> pd.DataFrame:
    """Return one row for each run and epoch, counted from 1, with the measurements of `Curve`."""
    measured = list(Curve.model_fields)
    rows = []
    for run in runs:
        identity = _row(run, IDENTITY)
        curve = zip(*(getattr(run.record.curve, name) for name in measured), strict=True)
        rows += [
            {**identity, "epoch": epoch, **dict(zip(measured, values, strict=True))}
            for epoch, values in enumerate(curve, start=1)
        ]
    dtypes = {name: dtype for name, (dtype, _) in IDENTITY.items()}
    return _frame(rows, {**dtypes, "epoch": COUNT, **dict.fromkeys(measured, FLOAT)})


def arms_frame(results: Results, summary: Summary) -> pd.DataFrame:
    """Return the numbers of summary.csv: one row for each arm and budget."""
    rows = summary_rows(results, summary)
    dtypes = {"task": TEXT, "optimizer": TEXT, "clip": TEXT, **_dtypes(ArmSummary), "paper_epochs": "Int64"}
    return _frame(rows, {name: dtypes.get(name, FLOAT) for name in rows[0]})


def verdicts_frame(summary: Summary) -> pd.DataFrame:
    """Return the numbers of verdicts.csv: one row for each pair of arms."""
    return _frame(verdict_rows(summary), _dtypes(Verdict))


def convergence_frame(summary: Summary) -> pd.DataFrame:
    """Return the numbers of convergence.csv: one row for each arm and definition of convergence."""
    return _frame(convergence_rows(summary), _dtypes(Convergence))


def _also(name: str) -> Callable[[Run], float | None]:
    return lambda run: run.record.test_also.get(name)


def _row(run: Run, columns: Columns) -> Row:
    return {name: value(run) for name, (_, value) in columns.items()}


def _frame(rows: Sequence[Row], dtypes: Mapping[str, str]) -> pd.DataFrame:
    # Every column has its dtype even if all of its values are missing, or if there is no row.
    return pd.DataFrame({name: pd.array([row[name] for row in rows], dtype=dtype) for name, dtype in dtypes.items()})


def _dtypes(kind: type[Any]) -> dict[str, str]:
    """Return the columns of a dataclass of statistics, as `sheets.flat` names them, with their dtypes."""
    dtypes: dict[str, str] = {}
    for field in fields(kind):
        if field.type is Estimate:
            dtypes |= dict.fromkeys((field.name, f"{field.name}_low", f"{field.name}_high"), FLOAT)
        elif field.type in DTYPES:
            dtypes[field.name] = DTYPES[field.type]
    return dtypes
