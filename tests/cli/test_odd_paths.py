"""Every option that takes a path says in one line what is wrong with it, before anything is loaded or trained."""

import sys
from pathlib import Path

import pytest

from steadystep.cli.app import run

STUDY = """
task: digits-mlp
arms: [{name: SGD, optimizer: SGD, lrs: [0.5]}]
seeds: 1
budgets: [1]
batch_size: 64
"""
FOLDERS = {
    "reproduce": ["reproduce", "--workers", "1", "--out"],
    "reproduce a study": ["reproduce", "--workers", "1", "--study", "study.yaml", "--out"],
    "compare": ["compare", "--workers", "1", "--out"],
    "stability": ["stability", "--workers", "1", "--out"],
    "success": ["success", "--workers", "1", "--out"],
    "cost": ["cost", "--seconds", "0.1", "--out"],
    "report": ["report", "folder", "--out"],
    "pack": ["report", "folder", "--pack"],
    "theory": ["theory", "step-bound", "--figures"],
}
SOURCES = {
    "data": ["reproduce", "--task", "mnist-mlp", "--workers", "1", "--out", "out", "--data"],
    "data of images": ["reproduce", "--task", "imagenet-resnet", "--workers", "1", "--out", "out", "--data"],
    "study": ["reproduce", "--workers", "1", "--out", "out", "--study"],
    "report": ["report"],
    "audit": ["audit", "--results"],
}
ODD = {
    "dangling": "dangling is a link that leads nowhere (to ",
    "dangling/deeper": "dangling is a link that leads nowhere (to ",
    "loop": "loop is a link that leads nowhere (to ",
    "file/deeper": "file is not a folder",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make odd paths in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def refused(arguments: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a command that must end with code 2 and one line, and return the line."""
    monkeypatch.setattr(sys, "argv", ["steadystep", *arguments])
    code = run()
    out, error = capfd.readouterr()
    assert (code, out, error.count("\n")) == (2, "", 1), error
    return error


@pytest.mark.parametrize("command", FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize(("path", "words"), [*ODD.items(), ("file", "file is not a folder")])
def test_a_folder_to_write(
    command: list[str], path: str, words: str, here: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before = sorted(here.rglob("*"))
    error = refused([*command, path], capfd, monkeypatch)
    assert words in error and "cannot write" in error
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("command", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize(("path", "words"), ODD.items())
def test_a_path_to_read(
    command: list[str], path: str, words: str, here: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    before = sorted(here.rglob("*"))
    assert words in refused([*command, path], capfd, monkeypatch)
    assert sorted(here.rglob("*")) == before
