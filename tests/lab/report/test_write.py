from pathlib import Path

import pytest

from lab_factory import make_results
from steadystep.lab.report.write import write_report
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.system.atomic import StoreError


def test_only_the_files_of_the_report_are_written(tmp_path: Path) -> None:
    results = make_results()
    folder = tmp_path / "new" / "folder"
    write_report(results, summarise(results), folder, "the first report, which the second replaces")
    written = write_report(results, summarise(results), folder, "steadystep reproduce")
    names = ["report.html", "summary.md", "summary.csv", "verdicts.csv", "convergence.csv"]
    assert written == [folder / name for name in names]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert "± " in (folder / "summary.md").read_text(encoding="utf-8")


def test_a_link_to_the_glossary_is_written_only_on_request(tmp_path: Path) -> None:
    results = make_results(seeds=1, budgets=(1,))
    summary = summarise(results)
    for glossary, expected in ((None, False), ("../../glossary.md", True)):
        write_report(results, summary, tmp_path, "steadystep reproduce", glossary)
        assert ("[glossary](../../glossary.md)" in (tmp_path / "summary.md").read_text(encoding="utf-8")) is expected


def test_a_folder_that_cannot_be_created_gives_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    results = make_results(seeds=1, budgets=(1,))
    with pytest.raises(StoreError) as refused:
        write_report(results, summarise(results), tmp_path / "file" / "folder", "steadystep reproduce")
    assert "\n" not in str(refused.value)
