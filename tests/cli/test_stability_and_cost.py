"""Test `steadystep stability` and `steadystep cost` end to end."""

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from steadystep.cli.app import run
from steadystep.lab import tasks
from tiny_study import TASK


class Said(NamedTuple):
    code: int
    out: str
    error: str


class Command:
    def __init__(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capfd, self._monkeypatch = capfd, monkeypatch

    def __call__(self, *arguments: str) -> Said:
        self._monkeypatch.setattr(sys, "argv", ["steadystep", *arguments])
        code = run()
        out, error = self._capfd.readouterr()
        return Said(code, str(out), str(error))


@pytest.fixture
def steadystep(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(tasks.TASKS, TASK.name, TASK)
    return Command(capfd, monkeypatch)


def test_stability_from_names_to_files(steadystep: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYSTEP_DATA", str(tmp_path / "mine"))  # must not appear in the report
    said = steadystep("stability", "--task", "tiny", "--lrs", "0.003:30:3", "--seeds", "2", "--workers", "1")
    assert said.code == 0, said.error
    assert "Clipping (norm)" in " ".join(said.out.split()) and "SGD by learning rate" in said.out
    folder = tmp_path / "studies" / "tiny-stability"
    assert {"stability.html", "stability.md", "stability.csv", "stability_ranges.csv"} <= {
        p.name for p in folder.iterdir()
    }
    page = (folder / "stability.md").read_text()
    assert "steadystep stability --task tiny --clip norm --lrs 0.003:30:3 --seeds 2" in page and "mine" not in page
    before = {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    assert len(before) == 3 * 2 * 4
    steadystep("stability", "--task", "tiny", "--lrs", "0.003:30:3", "--seeds", "2", "--workers", "1")
    assert {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()} == before


def test_cost_from_names_to_files(steadystep: Command, tmp_path: Path) -> None:
    said = steadystep("cost", "--task", "tiny", "--arms", "Adam, Adam+norm", "--seconds", "0.1", "--out", "here")
    assert said.code == 0, said.error
    assert "The optimizer takes" in said.out and "Adam + norm" in said.out
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"cost.html", "cost.md", "cost.csv"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stability", "--lrs", "1:2"], ("'1:2' is not a grid", "1e-4:10:11")),
        (["stability", "--clip", "nrom"], ("'nrom'", "norm")),
        (["stability", "--optimizers", "Adm"], ("'Adm'", "AdamW")),
        (["stability", "--task", "imagenet"], ("'imagenet'", "digits-mlp")),
        (["stability", "--quantile", "2"], ("'--quantile'", "steadystep stability --help")),
        (["cost", "--arms", "Adam+nrom"], ("'nrom'", "norm")),
        (["cost", "--out", "taken"], ("taken",)),
    ],
)
def test_mistakes_are_one_line(
    steadystep: Command, tmp_path: Path, arguments: list[str], words: tuple[str, ...]
) -> None:
    (tmp_path / "taken").write_text("a file")
    said = steadystep(*arguments)
    assert said.code == 2 and said.out == ""
    assert len(said.error.strip().splitlines()) == 1 and "Traceback" not in said.error
    assert all(word in said.error for word in words)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_ctrl_c_prints_how_to_resume(steadystep: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("steadystep.lab.stability.run.run_sweep", interrupted)
    said = steadystep("stability", "--task", "tiny", "--seeds", "2", "--workers", "1")
    assert said.code == 130 and "steadystep stability --task tiny" in said.error and "Traceback" not in said.error
