"""A study that takes more than a day says so and starts only if the user agrees."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from steadystep.cli.app import run
from steadystep.cli.long_study import LIMIT, confirm_long_study
from steadystep.lab.errors import UserError
from steadystep.lab.execution.forecast import Forecast, forecast
from tiny_study import STUDY, TASK

LONG = Forecast(steps=1_000_000, step_seconds=0.5, at_once=2)


def measured(_: float) -> Forecast:
    return LONG


def console_of(terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=200, force_terminal=terminal, color_system=None)


def test_without_a_terminal_it_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        confirm_long_study(measured, tmp_path, console_of(terminal=False), yes=False)
    assert str(refused.value) == (
        "this study takes at least 2 days 21 h: 1,000,000 steps of 0.5 s on this machine, 2 at a time: add --yes to "
        "start it, or choose fewer --seeds or --epochs"
    )


@pytest.mark.parametrize(("answer", "starts"), [("y", True), ("n", False), ("", False)])
def test_in_a_terminal_it_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, starts: bool) -> None:
    typed = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)
    console = console_of(terminal=True)
    if starts:
        confirm_long_study(measured, tmp_path, console, yes=False)
    else:
        with pytest.raises(UserError, match="--yes"):
            confirm_long_study(measured, tmp_path, console, yes=False)
    assert isinstance(console.file, io.StringIO)
    assert "at least 2 days 21 h" in console.file.getvalue()


def test_nothing_is_measured_if_the_user_has_agreed_or_the_study_has_started(tmp_path: Path) -> None:
    def refuse(_: float) -> Forecast:
        pytest.fail("measured")

    confirm_long_study(refuse, tmp_path, console_of(terminal=False), yes=True)
    (tmp_path / "records").mkdir()
    with pytest.raises(UserError):
        confirm_long_study(measured, tmp_path, console_of(terminal=False), yes=False)
    (tmp_path / "records" / "0.json").touch()
    confirm_long_study(refuse, tmp_path, console_of(terminal=False), yes=False)


def test_a_day_is_not_too_long(tmp_path: Path) -> None:
    day = Forecast(steps=int(LIMIT), step_seconds=1.0, at_once=1)
    confirm_long_study(lambda limit: day, tmp_path, console_of(terminal=False), yes=False)


def test_the_forecast_is_measured_on_the_task() -> None:
    found = forecast(STUDY, TASK, epochs=1000, data=None, workers=2, replicas=3, device=None, limit=0.0)
    assert found.steps == 1000 * (100 // 16) and found.at_once == 6
    assert 0 < found.step_seconds < 10
    assert found.seconds == found.steps * found.step_seconds / 6


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (
        ["reproduce", "--seeds", "1000000000"],
        ["compare", "--seeds", "1000000000"],
        ["stability", "--seeds", "1000000000"],
        ["success", "--task", "rnn-latch", "--seeds", "1000000000", "--epochs", "1000"],
    ):
        monkeypatch.setattr(sys, "argv", ["steadystep", *command, "--workers", "1", "--out", "out"])
        assert run() == 2
        out, error = capfd.readouterr()
        assert out == "" and len(error.splitlines()) == 1
        assert "takes at least" in error and " days" in error and "--yes" in error
        assert not list(tmp_path.rglob("*.json"))
