"""Test `steadystep success` end to end."""

import sys
from pathlib import Path

import pytest

from steadystep.cli.app import run
from steadystep.lab.tasks import rnn

SMALL = ["--lengths", "10,12", "--arms", "SGD,SGD + norm", "--seeds", "2", "--tune-seeds", "1", "--epochs", "1"]


@pytest.fixture
def said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> "pytest.CaptureFixture[str]":
    monkeypatch.chdir(tmp_path)
    for name, value in (("UPDATES", 3), ("VALIDATION", 10), ("TEST", 50)):
        monkeypatch.setattr(rnn, name, value)
    return capfd


def steadystep(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["steadystep", *arguments, "--workers", "1"])
    return run()


def test_success_from_names_to_files(
    said: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert steadystep(monkeypatch, "success", "--task", "rnn-latch", *SMALL) == 0
    assert "Successful runs over all lengths, tanh: SGD" in " ".join(said.readouterr().out.split())
    folder = tmp_path / "studies" / "rnn-latch-success"
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "success.html", "success.md", "success.csv", "success.svg",
    }  # fmt: skip
    command = "steadystep success --task rnn-latch --lengths 10,12 --cells tanh --arms 'SGD,SGD + norm' --seeds 2"
    assert command in (folder / "success.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "mnist-mlp"], "'mnist-mlp'"),
        (["--lengths", "10,long"], "--lengths takes integers separated by commas, such as 10,20,40, got 'long'"),
        (["--cells", "relu"], "'relu'"),
        (["--seeds", "0"], "'--seeds'"),
    ],
)
def test_mistakes_are_one_line(
    said: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    words: str,
) -> None:
    assert steadystep(monkeypatch, "success", *arguments) == 2
    out, error = said.readouterr()
    assert out == "" and len(error.strip().splitlines()) == 1 and words in error
    assert not list(tmp_path.iterdir())


def test_ctrl_c_prints_how_to_resume(said: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("steadystep.lab.success.run.run_success", interrupted)
    assert steadystep(monkeypatch, "success", "--task", "rnn-latch", *SMALL) == 130
    error = said.readouterr().err
    assert "steadystep success --task rnn-latch" in error and "Traceback" not in error
