"""Every published number recomputes from its records, and a number that was changed is found."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reference.published.sentences import check_sentences
from reference.published.tally import Tally
from reference.recompute import RESULTS, check, folders


@pytest.mark.parametrize("folder", list(folders()), ids=lambda folder: folder.name)
def test_the_tables_recompute_from_the_records(folder: Path) -> None:
    tally = Tally()
    check(folder, tally)
    assert tally.compared > 0 and not tally.mismatches


def test_what_the_front_page_says_first_is_what_the_records_say() -> None:
    tally = Tally()
    check_sentences((RESULTS / "index.md").read_text(encoding="utf-8"), RESULTS, tally)
    assert tally.compared > 20 and not tally.mismatches


def test_a_changed_number_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "digits-mlp"
    shutil.copytree(RESULTS / "digits-mlp", folder)
    _edit(folder / "verdicts.csv", lambda row: row | {"verdict": "better"})
    tally = Tally()
    check(folder, tally)
    assert len(tally.mismatches) == 3 and "verdict: published better, computed equivalent" in tally.mismatches[0]


@pytest.mark.parametrize(
    ("said", "instead"),
    [("makes no difference in", "costs something in"), ("+0.11 points", "+0.21 points"), ("50 of 60", "60 of 60")],
)
def test_a_changed_sentence_is_found(said: str, instead: str) -> None:
    page = (RESULTS / "index.md").read_text(encoding="utf-8")
    assert said in page
    tally = Tally()
    check_sentences(page.replace(said, instead), RESULTS, tally)
    assert tally.mismatches


def _edit(path: Path, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(map(change, csv.DictReader(file)))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
