"""Every command that trains trials runs them on a Ray cluster, says so when it is resumed, and stops on Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")

from study_commands import COMMANDS, numbers, run

pytestmark = pytest.mark.slow


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
