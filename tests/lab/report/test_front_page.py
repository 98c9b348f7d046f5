"""Test the front page of the results: it is generated from the records and is complete."""

import shutil
from pathlib import Path

import pytest

from steadystep.lab.execution.run_study import read_study
from steadystep.lab.paper.entry import table1
from steadystep.lab.report.front_page import front_page

RESULTS = Path(__file__).parents[3] / "docs" / "results"


@pytest.fixture(scope="module")
def page() -> str:
    return front_page(RESULTS)


def test_the_published_page_is_up_to_date(page: str) -> None:
    assert (RESULTS / "index.md").read_text(encoding="utf-8") == page


def test_every_row_of_the_papers_table_has_a_verdict(page: str) -> None:
    for row in table1():
        line = next(
            line for line in page.splitlines() if f"{row.architecture}, {row.technique}: {row.accuracy}%" in line
        )
        assert line.count(" | ") == 2 and "**" in line


def test_every_report_is_linked_with_its_picture(page: str) -> None:
    for report in RESULTS.glob("*/*.md"):
        name = f"{report.parent.name}/{report.name}"
        assert f"]({name})" in page
    for picture in (part.split(")")[0] for part in page.split("![")[1:] for part in [part.split("](")[1]]):
        assert (RESULTS / picture).is_file(), picture
    assert "/work" not in page and "/tmp" not in page


def test_the_page_states_processor_and_precision(page: str) -> None:
    runs = read_study(RESULTS / "mnist-mlp")
    processor = runs.final["Adam", runs.study.epochs][0].environment.processor
    assert processor in page and "float32" in page


def test_a_missing_study_is_not_measured(tmp_path: Path) -> None:
    shutil.copytree(RESULTS / "digits-mlp", tmp_path / "digits-mlp")
    page = front_page(tmp_path)
    line = next(line for line in page.splitlines() if "MNIST, MLP, SGD: 98.5%" in line)
    assert "**not measured**" in line and "reproduce --task mnist-mlp" in line
