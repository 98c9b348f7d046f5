"""Wrong invocations of the command, each with what it prints: `wrong_invocations.txt` is the table."""

import shlex
import sys
from pathlib import Path

import pytest

from steadystep.cli.app import run

TABLE = (Path(__file__).parent / "wrong_invocations.txt").read_text(encoding="utf-8")
COMMANDS = [block.removeprefix("$ steadystep ").split("\n", 1) for block in TABLE.strip().split("\n\n")]

FILES = {
    "file": "no folder",
    "list.yaml": "- 1\n",
    "broken.yaml": "task: [\n",
    "duplicate.yaml": "task: digits-mlp\ntask: digits-mlp\n",
    "wrong.yaml": """
task: digits-mlp
seeds: true
arms:
  - {name: a, optimizer: Adm, lrs: [0.1]}
  - {name: b, optimizer: Adam, lrs: [-1], options: {amsgrad: yes please, foo: 1}}
budgets: []
epoch: 3
""",
}


@pytest.mark.parametrize(("command", "expected"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_a_wrong_invocation_is_explained(
    command: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["steadystep", *shlex.split(command)])
    assert run() == 2
    printed = capsys.readouterr()
    assert (printed.err.rstrip(), printed.out) == (expected, "")


def test_there_are_many() -> None:
    assert len(COMMANDS) >= 30
