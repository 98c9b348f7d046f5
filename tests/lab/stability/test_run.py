"""Run sweeps of the tiny task, from the declaration to the written files."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steadystep.lab.report.document import html, markdown, write_document
from steadystep.lab.report.stability.report import stability_document
from steadystep.lab.stability.declare import sweep_for
from steadystep.lab.stability.run import SweepResults, run_sweep
from steadystep.lab.training.record import Record
from tiny_study import CALM_TASK, TASK, RecordingObserver, numbers

LRS = (0.003, 0.03, 1e4)
SCRIPT = "<script>alert(1)</script>"


def all_numbers(results: SweepResults) -> list[str]:
    # Compared as text, because nan != nan.
    return [str(numbers(record)) for records in results.records.values() for record in records]


class Interrupted(RecordingObserver):
    """Raise KeyboardInterrupt after five trials."""

    def trial_finished(self, record: Record) -> None:
        super().trial_finished(record)
        if len(self.finished) == 5:
            raise KeyboardInterrupt


def test_an_interrupted_sweep_resumes_to_the_same_numbers(tmp_path: Path) -> None:
    sweep = sweep_for(TASK, optimizers=["SGD"], clips=["norm", "agc"], lrs=LRS, seeds=2)
    whole = run_sweep(sweep, TASK, None, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, TASK, None, tmp_path / "stopped", observer=Interrupted())
    stored = {path.name for path in (tmp_path / "stopped" / "records").iterdir()}
    assert len(stored) == 5
    diary = RecordingObserver()
    resumed = run_sweep(sweep, TASK, None, tmp_path / "stopped", observer=diary)
    assert all_numbers(resumed) == all_numbers(whole)
    assert len(diary.finished) == 18 and len(diary.started) == 18 - 5
    assert diary.stages == ["tuning", "tuning clipped"]
    again = RecordingObserver()
    run_sweep(sweep, TASK, None, tmp_path / "stopped", observer=again)
    assert again.started == []


def test_adding_learning_rates_trains_only_the_new_trials(tmp_path: Path) -> None:
    run_sweep(sweep_for(TASK, optimizers=["SGD"], clips=["agc"], lrs=LRS, seeds=1), TASK, None, tmp_path)
    diary = RecordingObserver()
    run_sweep(
        sweep_for(TASK, optimizers=["SGD"], clips=["agc"], lrs=(*LRS, 0.3), seeds=1),
        TASK,
        None,
        tmp_path,
        observer=diary,
    )
    assert {trial.lr for trial in diary.started} == {0.3}


def test_the_test_split_is_never_read_and_clips_come_from_the_norms_at_the_best_lr(tmp_path: Path) -> None:
    results = run_sweep(sweep_for(CALM_TASK, optimizers=["SGD"], lrs=LRS, seeds=2), CALM_TASK, None, tmp_path)
    assert all(run.test_accuracy is None for runs in results.records.values() for run in runs)
    assert any(run.replicas > 1 for runs in results.records.values() for run in runs)
    best = [run for run in results.records["SGD"] if run.trial.lr == results.best["SGD"]]
    medians = [run.norm_quantiles[4] for run in best]
    [threshold] = {run.trial.clip.threshold for run in results.records["SGD + norm"] if run.trial.clip}
    assert threshold == float(f"{sum(medians) / 2:.4g}")


def test_the_document_is_complete_and_escaped(tmp_path: Path) -> None:
    task = replace(TASK, title=f"Clouds {SCRIPT}")
    document = stability_document(
        run_sweep(sweep_for(task, lrs=LRS, seeds=2), task, None, tmp_path / "run"), f"steadystep {SCRIPT}"
    )
    written = write_document(document, tmp_path / "out")
    assert [path.name for path in written] == [
        "stability.html",
        "stability.md",
        "stability.csv",
        "stability_ranges.csv",
        "stability_sensitivity.csv",
    ]
    page = html(document)
    assert SCRIPT not in page and page.count("&lt;script&gt;alert(1)") >= 3 and page.count("<script") == 3
    text = markdown(document)
    assert "## Sensitivity to the learning rate" in text and "\\<script\\>" in text and "| Adam + norm |" in text
    rows = list(csv.DictReader((tmp_path / "out" / "stability.csv").open()))
    assert len(rows) == 4 * 3 and {"lr", "divergence_low", "accuracy", "state"} <= set(rows[0])
    assert [row["arm"] for row in rows[::3]] == ["SGD", "SGD + norm", "Adam", "Adam + norm"]


def test_the_figure_pairs_colours_and_marks_usable_points(tmp_path: Path) -> None:
    results = run_sweep(sweep_for(TASK, lrs=LRS, seeds=2), TASK, None, tmp_path)
    [figure] = stability_document(results, "c").sections[0].figures
    traces: Any = figure.plot.data
    below = [trace for trace in traces if trace.yaxis == "y2"]
    assert [trace.line.dash for trace in below] == ["solid", "dash"] * 2
    assert below[0].line.color == below[1].line.color != below[2].line.color == below[3].line.color
    assert below[0].marker.symbol[-1].endswith("-open")  # at 10,000 nothing is usable
