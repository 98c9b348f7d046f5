"""The frames of a study have the numbers of its records and of its CSV files, with the same types in every study."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from lab_factory import ARMS, make_results, make_task
from steadystep.lab.data.frames import IDENTITY, curves_frame, trials_frame
from steadystep.lab.data.study_data import StudyData
from steadystep.lab.report.sheets import convergence_csv, summary_csv, verdicts_csv
from steadystep.lab.study.records import Results
from steadystep.lab.tasks.loss_unit import BITS
from steadystep.lab.tasks.recipe import Recipe, top1_correct
from steadystep.lab.training.record import Curve, Record

DataOf = Callable[[Results], StudyData]


def records_of(results: Results) -> list[tuple[str, int, Record]]:
    return [
        (*cell, record) for stage in (results.tuning, results.final) for cell, runs in stage.items() for record in runs
    ]


def value(cell: Any) -> Any:
    """Return the cell of a frame, or None if it is missing."""
    return None if pd.isna(cell) else cell


def test_there_is_a_row_for_every_run_with_the_values_of_its_record(data_of: DataOf) -> None:
    results = make_results(diverged={"Adam": (1,), "SGD": (0, 2)})
    trials = data_of(results).trials
    records = records_of(results)
    assert len(trials) == len(records)
    for row, (arm, budget, record) in zip(trials.to_dict("records"), records, strict=True):
        trial = record.trial
        assert {name: value(cell) for name, cell in row.items()} == {
            "arm": arm, "budget": budget, "stage": {"tune": "tuning", "final": "final"}[trial.role],
            "optimizer": trial.optimizer, "clip": trial.clip.kind if trial.clip else None, "lr": trial.lr,
            "threshold": trial.clip.threshold if trial.clip else None, "seed": trial.seed, "trial": trial.id,
            "epochs": trial.epochs, "diverged": record.outcome == "diverged", "reason": record.reason or None,
            "val_accuracy": record.val_accuracy, "val_loss": record.val_loss, "test_accuracy": record.test_accuracy,
            "test_loss": record.test_loss, "clip_rate": record.clip_rate, "steps": record.steps,
            "parameters": record.parameters, "flops": record.flops, "seconds": record.times.wall_seconds,
            "step_ms": record.times.step_ms, "optimizer_ms": record.times.optimizer_ms, "replicas": record.replicas,
            "dtype": trial.dtype, "device": record.environment.device,
        }  # fmt: skip


def test_there_is_a_row_for_every_completed_epoch(data_of: DataOf) -> None:
    results = make_results(diverged={"Adam": (1,)})
    data = data_of(results)
    curves = data.curves
    records = records_of(results)
    assert len(curves) == sum(len(record.curve.train_loss) for *_, record in records)
    rows = iter(curves.to_dict("records"))
    for arm, budget, record in records:
        for epoch in range(len(record.curve.train_loss)):
            row = next(rows)
            assert (row["arm"], row["budget"], row["trial"], row["epoch"]) == (arm, budget, record.trial.id, epoch + 1)
            assert {name: row[name] for name in Curve.model_fields} == {
                name: getattr(record.curve, name)[epoch] for name in Curve.model_fields
            }
    identity = list(IDENTITY)
    trained = [record for *_, record in records if record.curve.train_loss]
    assert len(curves[identity].drop_duplicates().merge(data.trials, on=identity, validate="1:1")) == len(trained)


@pytest.mark.parametrize("unit", [None, BITS], ids=["nats", "bits"])
def test_the_statistics_are_those_of_the_sheets(data_of: DataOf, unit: Any) -> None:
    data = data_of(make_results(diverged={"Adam": (1,)}, task=make_task(loss_unit=unit)))
    sheets = {
        "arms": summary_csv(data.results, data.summary),
        "verdicts": verdicts_csv(data.summary),
        "convergence": convergence_csv(data.summary),
    }
    for name, text in sheets.items():
        header, *rows = csv.reader(io.StringIO(text))
        frame: pd.DataFrame = getattr(data, name)
        assert list(frame) == header
        assert len(frame) == len(rows) > 0
        for cells, row in zip(frame.itertuples(index=False), rows, strict=True):
            for cell, written in zip(cells, row, strict=True):
                assert written in ("", "nan") if pd.isna(cell) else written == str(cell)


def test_every_further_metric_of_a_task_has_a_column(data_of: DataOf) -> None:
    results = make_results(task=make_task(recipe=Recipe(also={"top-5": top1_correct})))
    tested = {
        cell: [run.model_copy(update={"test_also": {"top-5": 0.9 + run.trial.seed / 1000}}) for run in runs]
        for cell, runs in results.final.items()
    }
    data = data_of(replace(results, final=tested))
    final = data.trials[data.trials.stage == "final"]
    assert (final.test_top_5 == 0.9 + final.seed / 1000).all()
    assert data.trials[data.trials.stage == "tuning"].test_top_5.isna().all()
    assert data.arms.test_top_5.notna().all()


def test_the_types_of_the_columns_do_not_depend_on_the_values(data_of: DataOf) -> None:
    """In a study of one unclipped arm, whole columns are missing, and there are no verdicts."""
    usual = data_of(make_results())
    bare = data_of(make_results(arms=ARMS[:1], seeds=1, budgets=(1,), task=make_task(claims={})))
    assert bare.trials.dropna(how="all", subset=["clip", "threshold"]).empty
    assert len(bare.verdicts) == 0
    for name in ("trials", "curves", "arms", "verdicts", "convergence"):
        pd.testing.assert_series_equal(getattr(bare, name).dtypes, getattr(usual, name).dtypes)
    assert (trials_frame([]).dtypes == usual.trials.dtypes).all() and (
        curves_frame([]).dtypes == usual.curves.dtypes
    ).all()


def test_means_over_the_final_runs_are_those_of_the_arms(data_of: DataOf) -> None:
    data = data_of(make_results(diverged={"Adam": (1,)}))
    final = data.trials[(data.trials.stage == "final") & ~data.trials.diverged]
    means = final.groupby(["arm", "budget"]).test_accuracy.mean()
    expected = data.arms.set_index(["arm", "budget"]).test_accuracy
    pd.testing.assert_series_equal(means.sort_index(), expected.sort_index())  # up to the order of the sum


def test_a_name_that_a_spreadsheet_takes_for_a_formula_is_unchanged(data_of: DataOf) -> None:
    """Only in CSV does it get an apostrophe."""
    arm = ARMS[0].model_copy(update={"name": "=1+1"})
    data = data_of(make_results(arms=[arm], accuracy={"=1+1": 0.9}))
    for frame in (data.trials, data.curves, data.arms, data.convergence):
        assert set(frame.arm) == {"=1+1"}
