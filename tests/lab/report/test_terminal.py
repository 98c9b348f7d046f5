import io

import pytest
from rich.console import Console

from lab_factory import ARMS, make_results, make_task
from steadystep.lab.report.terminal import render
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.study.records import Results
from steadystep.lab.study.spec import Arm


def shown(results: Results, width: int = 80, encoding: str = "utf-8", terminal: bool = False) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(file=file, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    render(results, summarise(results), console)
    file.flush()
    return raw.getvalue().decode(encoding)


def test_eighty_columns_show_every_number() -> None:
    text = shown(make_results(diverged={"Adam": (3,)}))
    assert max(len(line) for line in text.splitlines()) <= 80
    for word in (
        "98.9% in 12 epochs",
        "norm 2.16",
        "1/10",
        "> 4",
        "1.23",
        "Budget",
        "Epochs",
        "to target",
        "Test accuracy",
    ):
        assert word in text
    flowing = " ".join(text.split())
    assert "Adam + clip vs Adam: undecided, +8.64 points [−10.97, +28.25], margin 0.5; paper +0.60" in flowing
    assert "Note: Adam: 1 of 10 runs diverged" in text


def test_columns_of_one_group_stay_side_by_side() -> None:
    headers = [line for line in shown(make_results()).splitlines() if "to target   to target" in line]
    assert [line.count("to target") for line in headers] == [2]


def test_a_wide_terminal_shows_one_table() -> None:
    text = shown(make_results(), width=160)
    assert text.count("Arm ") == 1
    (row,) = [line for line in text.splitlines() if line.startswith("Adam + clip ") and "0/10" in line]
    assert row.split()[-4:] == ["10.0", "0/10", "1.23", "19"]


@pytest.mark.parametrize("width", [20, 40])
def test_the_report_fits_narrow_terminals(width: int) -> None:
    assert max(len(line) for line in shown(make_results(), width=width).splitlines()) <= width


def test_colours_are_used_only_in_a_terminal() -> None:
    assert "\x1b" not in shown(make_results())
    assert "\x1b[" in shown(make_results(), terminal=True)


def test_a_terminal_without_unicode() -> None:
    text = shown(make_results(task=make_task(claims={})), encoding="ascii")
    assert " +/- " in text
    assert "margin 0.5" in text


def test_names_are_text_and_not_markup() -> None:
    name = "[red]Adam[/red]\x1b[31m"
    results = make_results(arms=[Arm(name=name, optimizer="Adam", lrs=(0.1, 0.2, 0.3))], accuracy={name: 0.9})
    text = shown(results)
    assert "[red]Adam[/red]�[31m" in text
    assert "\x1b" not in text


def test_without_claims_there_is_a_note_instead_of_the_column() -> None:
    text = shown(make_results(task=make_task(claims={})))
    assert "Paper's claim" not in text
    assert "Note: The paper makes no claim" in text


def test_one_arm() -> None:
    assert "SGD, 93." in shown(make_results(arms=ARMS[:1]))
