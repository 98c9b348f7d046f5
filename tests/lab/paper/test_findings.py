"""Comparisons are found by rule, in every kind of record, and none of them is left out."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from steadystep.lab.paper import audit
from steadystep.lab.paper.entry import Every
from steadystep.lab.paper.findings import Finding, findings
from steadystep.lab.paper.results import published_results
from steadystep.lab.report.answers import answers

FOUND = findings(published_results())


def of(question: str, folder: str) -> dict[tuple[str, str], Finding]:
    return {(each.arm, each.against): each for each in FOUND if (each.question, each.folder) == (question, folder)}


def test_pairs_that_differ_in_clipping_alone_are_found_in_every_kind_of_record() -> None:
    for folder in published_results().glob("*/verdicts.csv"):
        with folder.open(encoding="utf-8", newline="") as file:
            pairs = {(row["arm"], row["against"]) for row in csv.DictReader(file)}
        twins = {(arm, other) for arm, other in pairs if arm.startswith(f"{other} + ")}
        assert twins == set(of("clipping", folder.parent.name))
    assert len(of("clipping", "rnn-addition-success")) == 4, "two cells, two optimizers"
    assert len(of("clipping", "digits-mlp-stability")) == 2


def test_what_the_paper_leaves_out_is_found() -> None:
    """Check the results that contradict the paper and that a choice by hand had left out."""
    lstm = of("clipping", "rnn-addition-success")["Adam + norm (lstm)", "Adam"]
    assert lstm.outcome == "worse" and lstm.settled and lstm.size == "50 of 60 runs succeeded instead of 59"
    assert of("clipping", "cifar10-cnn")["Adam + norm", "Adam"].outcome == "worse"
    assert ("Adam", "SGD") in of("adam-vs-sgd", "cifar10-cnn")
    rows = {row.id: row for row in audit()}
    for name, folder in (("adam-beats-sgd", "cifar10-cnn"), ("combination-wins", "rnn-addition-success"),
                         ("combination-wins", "charlm-transformer"), ("combination-wins", "cifar10-cnn")):  # fmt: skip
        assert folder in {source.reference for source in rows[name].evidence}


def test_a_row_lists_every_comparison_or_every_one_of_recurrent_networks() -> None:
    rows = {row.id: row for row in audit()}
    texts = [source.text for source in rows["rnns-are-sensitive"].evidence if source.kind == "measured"]
    assert texts == [each.text for each in FOUND if each.question == "clipping" and each.recurrent]
    assert 0 < len(texts) < sum(each.question == "clipping" for each in FOUND)
    assert Every(question="clipping").networks == "all"


@pytest.mark.parametrize(
    ("edge", "seen", "said"),
    [(False, 0, ""), (True, 0, "tuned to the edge of the search: Adam"), (False, 7, "declared after test results")],
)
def test_a_comparison_with_a_reservation_is_open(edge: bool, seen: int, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "digits-mlp"
    shutil.copytree(published_results() / "digits-mlp", folder)
    stored = json.loads((folder / "study.json").read_text())
    del stored["sha256"]
    (folder / "study.json").write_text(json.dumps(stored | {"test_seen": seen}))
    with (folder / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = [row | ({"edge": str(edge)} if row["arm"] == "Adam" else {}) for row in csv.DictReader(file)]
    with (folder / "summary.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    [found] = [each for each in findings(tmp_path) if each.question == "clipping"]
    assert found.settled == (not said) and said in found.text
    together = answers(tmp_path)[2].text
    assert ("makes no difference in" in together) == (not said) and ("open in" in together) == bool(said)


def test_without_records_nothing_is_claimed(tmp_path: Path) -> None:
    assert findings(tmp_path) == ()
    assert all("No comparison" in answer.text or "no comparison" in answer.text for answer in answers(tmp_path))
