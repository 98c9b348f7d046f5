"""Test the audit: the evidence of every row exists, and verdicts on numbers are computed."""

import csv
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from steadystep.lab.paper import Row, audit
from steadystep.lab.paper.arithmetic import epoch_ratios
from steadystep.lab.paper.entry import Entry, Evidence, table1
from steadystep.lab.paper.results import BrokenResultsError, Interval, Results, published_results
from steadystep.lab.paper.row import report_source
from steadystep.lab.tasks import TASKS
from steadystep.lab.tasks.arms import current_name
from steadystep.lab.theory import RECORDED

ROWS = {row.id: row for row in audit()}


def rows(folder: Path) -> dict[str, Row]:
    return {row.id: row for row in audit(folder)}


def copied(tmp_path: Path) -> Path:
    return shutil.copytree(published_results(), tmp_path / "results")


def rewrite(path: Path, arm: str, **values: float) -> None:
    """Change columns in the rows of one arm in a published table."""
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    for row in table:
        if current_name(row["arm"]) == arm:
            row.update({name: str(value) for name, value in values.items()})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0].keys())
        writer.writeheader()
        writer.writerows(table)


def test_every_kind_occurs_and_no_id_is_repeated() -> None:
    assert len(ROWS) == len(audit()) > 50
    assert {row.kind for row in ROWS.values()} == {"claims", "equations", "citations", "method", "numbers"}


def test_every_row_has_evidence_that_exists() -> None:
    for row in ROWS.values():
        assert row.explanation
        assert row.evidence or row.verdict == "not measured", row.id
        for source in row.evidence:
            assert source.text
            if source.kind == "theory":
                assert RECORDED[source.reference] in source.text
            if source.kind == "measured":
                assert list((published_results() / source.reference).glob("*.csv"))
                assert not source.text.startswith(("no result", "no report"))


def test_a_report_is_quoted_verbatim(tmp_path: Path) -> None:
    folder = tmp_path / "some-sweep"
    folder.mkdir()
    (folder / "stability.md").write_text("# A sweep\n\n**It is stable.**\n")
    assert report_source(tmp_path, "some-sweep/stability").text == "A sweep: It is stable."
    assert report_source(tmp_path, "other/stability").text.startswith("no report")


def test_correct_statements_hold() -> None:
    for name in ("long-term-dependencies", "clipping-bounds", "adam-adapts", "sgd", "kingma-ba", "pascanu-2013"):
        assert ROWS[name].verdict == "holds"
    assert ROWS["table1-mnist-sgd"].verdict == "exceeded"


def test_wrong_statements_are_found() -> None:
    for name in ("amsgrad", "yogi", "adabound", "bengio-1994"):
        assert ROWS[name].verdict == "misattributed"
    for name in ("yogi-description", "adabound-description", "a-lamb-description", "curse-of-dimensionality", "adam"):
        assert ROWS[name].verdict == "wrong"
    assert "refuted" in ROWS["adam"].evidence[0].text


def test_the_table_agrees_with_the_claims_of_the_tasks() -> None:
    for row in table1():
        if row.study is not None and row.arm is not None:
            claim = TASKS[row.study].claims[row.arm]
            assert (claim.accuracy, claim.epochs) == (pytest.approx(row.accuracy / 100), row.epochs)
    assert len(table1()) == 9


def test_the_ratios_of_epochs_agree_everywhere() -> None:
    ratios = epoch_ratios(table1())
    assert set(ratios) == {"MNIST", "CIFAR-10", "ImageNet"}
    assert {tuple(round(ratio, 12) for ratio in found) for found in ratios.values()} == {(0.666666666667, 1.0, 0.8)}
    assert "the same everywhere" in ROWS["epoch-ratios"].evidence[0].text


def test_a_number_is_judged_by_the_measured_interval(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    interval = {"test_accuracy": 0.99, "test_accuracy_low": 0.993, "test_accuracy_high": 0.996}
    rewrite(folder / "mnist-mlp" / "summary.csv", "Adam + norm", **interval)
    name = "table1-mnist-adam-gradient-clipping"
    assert (ROWS[name].verdict, rows(folder)[name].verdict) == ("not reproduced", "reproduced")
    measured = Results(published_results() / "mnist-mlp").accuracy("Adam + norm").value
    assert f"{99.5 - 100 * measured:.2f} points above" in ROWS[name].explanation
    rewrite(folder / "mnist-mlp" / "verdicts.csv", "Adam + norm", difference_low=0.002, difference_high=0.004)
    improved = rows(folder)
    assert improved["improvement-mnist-adam"].verdict == "reproduced"
    assert improved["improvement-mnist-sgd"].verdict == "not reproduced"


def test_a_wide_interval_leaves_the_row_undecided(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    rewrite(folder / "mnist-mlp" / "summary.csv", "Adam + norm", test_accuracy_low=0.99, test_accuracy_high=0.996)
    rewrite(folder / "mnist-mlp" / "verdicts.csv", "Adam + norm", difference_low=-0.02, difference_high=0.02)
    found = rows(folder)
    row = found["table1-mnist-adam-gradient-clipping"]  # the interval contains 99.5%, and Adam's 99.2% as well
    assert (row.verdict, "other techniques" in row.explanation) == ("undecided", True)
    for name in ("improvement-mnist-adam", "improvement-mnist-sgd"):
        assert (found[name].verdict, "no difference at all" in found[name].explanation) == ("undecided", True)


def test_a_result_above_the_claim_exceeds_it(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    name = "table1-mnist-adam-gradient-clipping"
    rewrite(
        folder / "mnist-mlp" / "summary.csv",
        "Adam + norm",
        test_accuracy=0.998,
        test_accuracy_low=0.9975,
        test_accuracy_high=0.9985,
    )
    rewrite(folder / "mnist-mlp" / "verdicts.csv", "Adam + norm", difference_low=0.02, difference_high=0.04)
    found = rows(folder)
    assert found[name].verdict == "exceeded"
    assert found[name].explanation.startswith("The measured mean is 0.30 points above the paper's accuracy")
    for pair in ("improvement-mnist-adam", "improvement-mnist-sgd"):
        assert (found[pair].verdict, "below the 95% interval" in found[pair].explanation) == ("exceeded", True)
    assert ROWS["table1-cifar-10-sgd"].verdict == "exceeded"


def test_another_network_is_not_comparable(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    shutil.rmtree(folder / "mnist-mlp")
    shutil.copytree(folder / "mnist-mlp-augmented", folder / "mnist-mlp")
    found = rows(folder)
    for name in ("table1-mnist-sgd", "table1-mnist-adam", "improvement-mnist-adam"):
        assert (found[name].verdict, "batch norm" in found[name].explanation) == ("not comparable", True)


def test_too_few_seeds_leave_a_row_undecided(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    missing = float("nan")
    for arm in ("SGD", "Adam + norm"):
        rewrite(folder / "mnist-mlp" / "summary.csv", arm, test_accuracy_low=missing, test_accuracy_high=missing)
    rewrite(folder / "mnist-mlp" / "verdicts.csv", "Adam + norm", difference_low=missing, difference_high=missing)
    found = rows(folder)
    for name in ("table1-mnist-sgd", "improvement-mnist-adam"):
        assert found[name].verdict == "undecided"
        texts = (found[name].explanation, found[name].evidence[0].text)
        assert all("too few seeds for an interval" in text and "nan" not in text for text in texts)


def test_evidence_shows_the_current_status_of_a_claim() -> None:
    (row,) = (row for row in audit(statuses={**RECORDED, "printed-adam": "holds"}) if row.id == "adam")
    assert row.evidence[0].text.endswith(": holds")


def test_without_results_rows_are_not_measured(tmp_path: Path) -> None:
    bare = rows(tmp_path)
    assert bare["table1-mnist-sgd"].verdict == "not measured"
    assert "improvement-mnist-sgd" not in bare
    assert any(f"no such comparison in {tmp_path}" in source.text for source in bare["adam-beats-sgd"].evidence)
    assert any(f"no result of digits-mlp in {tmp_path}" in source.text for source in bare["cost"].evidence)


def test_the_error_names_broken_results(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "mnist-mlp" / "study.json").write_text("{")
    with pytest.raises(BrokenResultsError, match=r"study\.json"):
        audit(folder)
    folder = shutil.copytree(published_results(), tmp_path / "again")
    (folder / "mnist-mlp" / "summary.csv").write_text("arm,budget\nSGD,15\n")
    with pytest.raises(BrokenResultsError, match="mnist-mlp"):
        audit(folder)


def test_an_interval_contains_its_ends() -> None:
    assert Interval(0.5, 0.4, 0.6).contains(0.4) and not Interval(0.5, 0.4, 0.6).contains(0.61)


def test_entries_without_evidence_are_refused() -> None:
    whole = {"id": "x", "section": "s", "quote": "q", "verdict": "wrong", "explanation": "e"}
    with pytest.raises(ValidationError, match="evidence"):
        Entry.model_validate({**whole, "evidence": []})
    with pytest.raises(ValidationError, match="exactly one field"):
        Evidence.model_validate({"theory": "cliff", "citation": "somebody"})
    with pytest.raises(ValidationError, match="verdict"):
        Entry.model_validate({**whole, "verdict": "silly", "evidence": [{"citation": "somebody"}]})
