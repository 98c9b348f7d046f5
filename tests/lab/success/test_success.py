"""Test success rates: the declaration, the criterion, resumed runs and the report."""

import csv
import io
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from steadystep.lab.errors import UserError
from steadystep.lab.report.document import markdown
from steadystep.lab.report.success.report import answer, success_document, write_success
from steadystep.lab.success.declare import Measurement, measurement_for
from steadystep.lab.success.run import SuccessResults, run_success
from steadystep.lab.success.summary import succeeded, summarise_success
from steadystep.lab.tasks import rnn
from tiny_study import RecordingObserver, numbers

FILES = {"success.html", "success.md", "success.csv", "success.svg"}


@pytest.fixture(autouse=True)
def _small_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("UPDATES", 5), ("VALIDATION", 20), ("TEST", 100)):
        monkeypatch.setattr(rnn, name, value)


def small(**options: object) -> Measurement:
    defaults = {"lengths": (10, 12, 11), "seeds": 3, "tune_seeds": 1, "epochs": 1, "hidden": 2}
    return measurement_for("rnn-latch", **defaults | options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("success")


@pytest.fixture
def results(folder: Path) -> SuccessResults:
    return run_success(small(), folder)


def with_accuracies(results: SuccessResults, accuracies: list[float | None]) -> SuccessResults:
    """Replace the test accuracies of the SGD runs at length 10; None means that the run diverged."""
    cell = ("tanh", "SGD", 10)
    records = [
        record.model_copy(update={"test_accuracy": value, "outcome": "diverged" if value is None else "finished"})
        for record, value in zip(results.final[cell], accuracies, strict=True)
    ]
    return SuccessResults(results.measurement, results.chosen, results.tuning, {**results.final, cell: records})


def test_a_run_succeeds_with_less_than_one_percent_wrong(results: SuccessResults) -> None:
    run = results.final["tanh", "SGD", 10][0]
    for accuracy, expected in ((0.9901, True), (1.0, True), (0.99, False), (0.5, False), (None, False)):
        assert succeeded(run.model_copy(update={"test_accuracy": accuracy})) is expected


def test_successes_and_their_interval(results: SuccessResults) -> None:
    [rate] = [
        rate
        for rate in summarise_success(with_accuracies(results, [1.0, None, 0.995]))
        if (rate.cell, rate.arm, rate.length) == ("tanh", "SGD", 10)
    ]
    assert (rate.runs, rate.succeeded, rate.diverged) == (3, 2, 1)
    n, p, z = 3, 2 / 3, 1.959964
    middle, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert rate.success.low == pytest.approx((middle - half) / (1 + z * z / n), abs=1e-6)
    assert rate.success.high == pytest.approx((middle + half) / (1 + z * z / n), abs=1e-6)
    # A diverged run counts as guessing one bit, so 0.5; t(2, .975) = 4.302653, s / sqrt(n) of (1, .5, .995).
    values, mean = (1.0, 0.5, 0.995), 2.495 / 3
    error = (sum((value - mean) ** 2 for value in values) / 2 / 3) ** 0.5
    assert rate.accuracy.mean == pytest.approx(mean)
    # The t interval would reach 1.545, so that it is computed on the logit scale.
    end = math.log(mean / (1 - mean)) + 4.302653 * error / (mean * (1 - mean))
    assert rate.accuracy.high == pytest.approx(1 / (1 + math.exp(-end)), abs=1e-6)


def test_every_arm_is_tuned_at_the_middle_length_and_evaluated_at_every_length(results: SuccessResults) -> None:
    assert results.measurement.lengths == (10, 11, 12) and results.measurement.tuned_at == 11
    for (cell, arm), chosen in results.chosen.items():
        assert chosen.task == "rnn-latch:tanh:11:2" and len(results.tuning[cell, arm]) == 6
        for length in (10, 11, 12):
            trials = [record.trial for record in results.final[cell, arm, length]]
            assert [trial.seed for trial in trials] == [0, 1, 2]
            assert {trial.task for trial in trials} == {f"rnn-latch:tanh:{length}:2"}
            assert {(trial.lr, trial.clip) for trial in trials} == {(chosen.lr, chosen.clip)}


def test_a_repeated_call_trains_nothing_and_new_lengths_train_only_new_trials(
    results: SuccessResults, folder: Path
) -> None:
    diary = RecordingObserver()
    again = run_success(small(), folder, observer=diary)
    assert not diary.started
    for cell, records in results.final.items():
        assert [numbers(record) for record in again.final[cell]] == [numbers(record) for record in records]
    run_success(small(lengths=(10, 11, 12, 13)), folder, observer=diary)
    assert {trial.task for trial in diary.started} == {"rnn-latch:tanh:13:2"} and len(diary.started) == 4 * 3


def test_an_interrupted_measurement_is_resumed(tmp_path: Path, results: SuccessResults, folder: Path) -> None:
    class Stops(RecordingObserver):
        def trial_finished(self, record: object) -> None:
            super().trial_finished(record)  # type: ignore[arg-type]
            if len(self.finished) == 30:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_success(small(), tmp_path, observer=Stops())
    resumed = run_success(small(), tmp_path)
    for cell, records in results.final.items():
        assert [numbers(record) for record in resumed.final[cell]] == [numbers(record) for record in records]


def test_all_files_hold_the_same_numbers(results: SuccessResults, tmp_path: Path) -> None:
    changed = with_accuracies(results, [1.0, None, 0.995])
    document, written = write_success(changed, "steadystep success --task rnn-latch", tmp_path)
    assert {path.name for path in written} == FILES and written[0].name == "success.html"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "success.csv").read_text())))
    assert len(rows) == 4 * 3
    assert (rows[0]["succeeded"], rows[0]["runs"], rows[0]["success"][:5]) == ("2", "3", "0.666")
    assert "67 \\[21, 94\\]" in (tmp_path / "success.md").read_text()
    svg = ElementTree.parse(tmp_path / "success.svg").getroot()
    assert len(svg.findall("{*}polyline")) == 4 and len(svg.findall("{*}circle")) == 12
    assert document.lede.startswith("Successful runs over all lengths, tanh: SGD 2 of 9")
    assert [section.title for section in document.sections[:2]] == ["Success by length", "Accuracy by length"]
    right = [rate.accuracy.mean for rate in summarise_success(changed) if rate.arm == "Adam"]
    assert f"Adam {100 * sum(right) / 3:.1f}%" in document.lede.partition("Sequences that were right, tanh: ")[2]


def test_a_single_length_can_be_drawn(results: SuccessResults) -> None:
    measurement = small(lengths=(11,))
    one = SuccessResults(
        measurement, results.chosen, results.tuning, {k: v for k, v in results.final.items() if k[2] == 11}
    )
    document = success_document(one, "command")
    assert "T = 11" in markdown(document) and answer(summarise_success(one)) == document.lede


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("digits-mlp", {}, "got 'digits-mlp': choose one of rnn-addition"),
        ("rnn-latch", {"arms": ("Adm",)}, "unknown arm 'Adm': choose one of SGD"),
        ("rnn-latch", {"arms": ("SGD + norm",)}, "takes its thresholds from"),
        ("rnn-latch", {"cells": ("relu",)}, "no cell 'relu'"),
        ("rnn-latch", {"lengths": (2, 10)}, "at least 4 steps, got length 2"),
        ("rnn-latch", {"lengths": ()}, "at least one length"),
    ],
)
def test_an_invalid_measurement_is_refused(name: str, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        measurement_for(name, **options)


def test_results_of_other_settings_in_the_folder_are_told(tmp_path: Path) -> None:
    first = run_success(small(lengths=(10,)), tmp_path)
    assert not any("Test seen" in note for note in success_document(first, "").notes)
    fewer = run_success(small(lengths=(10,), seeds=2), tmp_path)
    tested = sum(runs[2].test_accuracy is not None for runs in first.final.values())
    note = next(note for note in success_document(fewer, "").notes if "Test seen" in note)
    assert f"the folder has {tested} further test results" in note and tested > 1
