"""Every command that trains trials runs them on a Ray cluster, says so when it is resumed, and stops on Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")

pytestmark = pytest.mark.slow

COMMANDS = {
    "reproduce": ["--task", "digits-mlp", "--seeds", "2", "--epochs", "1"],
    "compare": ["--task", "digits-mlp", "--arms", "sgd,adam+norm", "--settings", "2", "--seeds", "2", "--epochs", "1"],
    "stability": ["--task", "digits-mlp", "--optimizers", "SGD", "--lrs", "0.1,0.2", "--seeds", "1", "--epochs", "1"],
    "success": ["--task", "rnn-latch", "--lengths", "10", "--arms", "SGD", "--seeds", "1", "--tune-seeds", "1"],
}


def numbers(folder: Path) -> dict[str, object]:
    """Return the stored records by trial, without what differs between two runs."""
    records = {}
    for path in (folder / "records").iterdir():
        record = json.loads(path.read_text())["record"]
        records[path.stem] = {name: value for name, value in record.items() if name not in ("times", "environment")}
    return records


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "steadystep", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_gives_the_same_records_on_ray(tmp_path: Path, command: str) -> None:
    arguments = [command, *COMMANDS[command], *(["--epochs", "1"] if command == "success" else [])]
    for name, options in (("here", ["--workers", "1"]), ("ray", ["--executor", "ray", "--workers", "2"])):
        said = run(tmp_path, *arguments, *options, "--out", name)
        assert said.returncode == 0, said.stderr
    assert numbers(tmp_path / "ray") == numbers(tmp_path / "here") != {}
    page = next((tmp_path / "ray").glob("*.md")).read_text()
    assert "--executor ray" in page


def test_ctrl_c_keeps_the_records_and_prints_how_to_resume(tmp_path: Path) -> None:
    arguments = ["compare", "--task", "digits-mlp", "--arms", "sgd,adam", "--epochs", "300", "--replicas", "1"]
    command = [sys.executable, "-m", "steadystep", *arguments, "--executor", "ray", "--out", "out"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout and process.stderr
        while "epochs" not in process.stdout.readline():
            assert process.poll() is None, process.stderr.read()
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in error and "--executor ray" in error
    assert list((tmp_path / "out" / "checkpoints").glob("*.pt"))
