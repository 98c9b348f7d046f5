"""`steadystep doctor` from the command line: exit codes, JSON, the page, and one line for a mistake."""

import json
import sys
from pathlib import Path

import pytest

from steadystep.cli.app import run

CASE = """
from types import SimpleNamespace
import torch
from torch import nn
from torch.nn import functional

torch.set_num_threads(1)


def make_run(bad=True):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
    x = torch.randn(960, 20)
    batches = list(zip(x.clone().split(16), x[:, :4].argmax(1).split(16)))
    if bad:
        batches[23][0][5, 2] = float("nan")
    return SimpleNamespace(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        loss=lambda model, batch: functional.cross_entropy(model(batch[0]), batch[1]),
        batches=batches,
    )


def make_healthy():
    return make_run(bad=False)


def make_raising():
    run = make_healthy()

    def step(run, batch):
        raise RuntimeError("the cable is loose")

    run.step = step
    return run


def make_nothing():
    return None


def make_failing():
    return 1 / 0
"""


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "case.py"
    file.write_text(CASE)
    monkeypatch.delitem(sys.modules, "case", raising=False)
    return file


def doctor(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["steadystep", "doctor", *arguments])
    return run()


def test_a_diagnosis_is_printed(
    case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(monkeypatch, "--run", "case.py:make_run") == 3
    printed = capsys.readouterr().out
    assert "Culprit: batch, example 5 of batch 23, step 23" in printed
    assert "Fix: leave example 5 of batch 23 out, or mend its data (in replay, this held for 200 steps)." in printed


@pytest.mark.parametrize(("function", "code"), [("make_run", 3), ("make_healthy", 0), ("make_raising", 4)])
def test_json_and_the_exit_code(
    function: str, code: int, case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(monkeypatch, "--run", f"case.py:{function}", "--json") == code
    read = json.loads(capsys.readouterr().out)
    assert (read["culprit"] is not None) == (code == 3) and read["healthy"] == (code == 0)
    assert {"place", "step", "sentence", "fix", "verified", "evidence"} <= read.keys()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a box, a run"),
        (("--run", "case.py"), "--run takes FILE.py:make_run, got 'case.py'"),
        (("--run", "none.py:make_run"), "there is no file none.py"),
        (("--run", "case.py:other"), "has no function other; it has make_run, make_healthy"),
        (("--run", "case.py:make_nothing"), "the run needs `model`"),
        (("--run", "case.py:make_failing"), "make_failing() fails in line 44: ZeroDivisionError: division by zero"),
        (("no-box",), "no-box"),
        (("--clip", "--run", "case.py:make_run"), "--clip reads a black box"),
        (("--run", "case.py:make_run", "--steps", "0"), "steps"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...],
    words: str,
    case: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert doctor(monkeypatch, *arguments) == 2
    written = capsys.readouterr()
    (line,) = [line for line in written.err.splitlines() if line.strip()]
    assert line.startswith("steadystep: ") and words in line and written.out == ""


def test_the_page_the_box_and_the_box_alone(
    case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(monkeypatch, "--run", "case.py:make_run", "--out", "found") == 3
    page = Path("found/doctor.html").read_text(encoding="utf-8")
    assert "batch: example 5 of batch 23" in page and "tensor-norms" in page
    assert json.loads(Path("found/doctor.json").read_text())["culprit"] == "batch"
    assert "file://" in capsys.readouterr().out.splitlines()[-1]

    assert doctor(monkeypatch, "found/box", "--json") == 4
    alone = json.loads(capsys.readouterr().out)
    assert alone["culprit"] is None and not alone["verified"]
    assert "suspected, not verified: the batch (example 5 of batch 23 contains NaN)" in alone["sentence"]

    assert doctor(monkeypatch, "found/box", "--run", "case.py:make_run", "--json") == 3
    replayed = json.loads(capsys.readouterr().out)
    assert (replayed["culprit"], replayed["place"], replayed["step"]) == ("batch", "example 5 of batch 23", 23)
    assert replayed["verified"]

    assert doctor(monkeypatch, "found/box", "--run", "case.py:make_run", "--out", "found") == 2
    assert "would write a box in place of found/box, which is read" in capsys.readouterr().err


def test_a_hostile_name_is_escaped_on_the_page(
    case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = "nn.Linear(32, 4))"
    hostile = CASE.replace("bad=True", "bad=False").replace(
        layers, f"{layers}\n    model.add_module('<script>', nn.Softmax(1))"
    )
    case.write_text(hostile)
    assert doctor(monkeypatch, "--run", "case.py:make_run", "--out", "found") == 3
    page = Path("found/doctor.html").read_text(encoding="utf-8")
    assert "&lt;script&gt; (softmax)" in page and "<script> (softmax)" not in page
