from pathlib import Path

import pytest

from lab_factory import make_results
from steadystep.lab.report.write import write_report
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.system.atomic import StoreError


def test_everything_is_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    results = make_results()
    folder = tmp_path / "new" / "folder"
    write_report(results, summarise(results), folder, "the first, which the second replaces")
    written = write_report(results, summarise(results), folder, "steadystep reproduce")
    names = ["report.html", "summary.md", "summary.csv", "verdicts.csv", "convergence.csv"]
    assert written == [folder / name for name in names]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert "± " in (folder / "summary.md").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    results = make_results(seeds=1, budgets=(1,))
    with pytest.raises(StoreError) as refused:
        write_report(results, summarise(results), tmp_path / "file" / "folder", "steadystep reproduce")
    assert "\n" not in str(refused.value)
