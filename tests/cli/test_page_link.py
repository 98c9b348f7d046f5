"""The last line of a command that writes a page: where it is, and `--open`."""

import io
import sys
import webbrowser
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from steadystep.cli.app import app, run
from steadystep.cli.page_link import finish_with_page
from steadystep.lab import tasks
from tiny_study import TASK


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the addresses that are opened in a browser, in this process."""
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not addresses.append(address))
    return addresses


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        (["reproduce", "--task", "tiny", "--workers", "1"], "studies/tiny/report.html"),
        (
            ["compare", "--task", "tiny", "--arms", "adam@0.003:0.03", "--workers", "1"],
            "studies/tiny-compared/report.html",
        ),
        (
            ["stability", "--task", "tiny", "--lrs", "0.03:3:2", "--workers", "1"],
            "studies/tiny-stability/stability.html",
        ),
        (["cost", "--task", "tiny", "--arms", "Adam", "--seconds", "0.1"], "studies/tiny-cost/cost.html"),
        (["theory", "starvation", "--figures", "figures"], "figures/theory.html"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_page_is_opened_once_at_the_end(
    arguments: list[str],
    page: str,
    opened: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(tasks.TASKS, TASK.name, TASK)
    address = (tmp_path / page).as_uri()
    for options, addresses, hint in ((["--open"], [address], ""), ([], [], " (--open opens it in a browser)")):
        opened.clear()
        monkeypatch.setattr(sys, "argv", ["steadystep", *arguments, *options])
        assert run() == 0
        *_, finding, last = str(capfd.readouterr().out).splitlines()
        assert last == f"The full report: {address}{hint}"
        assert finding
        assert opened == addresses
    if arguments[0] == "reproduce":
        monkeypatch.setattr(sys, "argv", ["steadystep", "report", "studies/tiny", "--open"])
        assert run() == 0
        *_, finding, last = str(capfd.readouterr().out).splitlines()
        assert opened == [address] and last == f"The full report: {address}"
        assert finding.startswith("Test accuracy after 2 epochs: ")


def test_a_machine_without_a_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    console = Console(file=io.StringIO(), width=40)
    finish_with_page(tmp_path / "report.html", console, open_page=True)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().endswith("report.html (no browser was found)\n")


def test_every_command_that_writes_a_page_explains_open() -> None:
    for command in ("reproduce", "compare", "stability", "success", "cost", "report", "theory"):
        assert "--open" in CliRunner().invoke(app, [command, "--help"], terminal_width=200).output


@pytest.mark.parametrize("options", [["--open"], ["--open", "--json", "--figures", "here"]])
def test_a_theory_without_a_page_cannot_be_opened(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["steadystep", "theory", "starvation", *options])
    assert run() == 2
    assert "--open opens the page that --figures DIR writes" in capfd.readouterr().err
