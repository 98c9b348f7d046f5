"""Every command that trains trials does so in several processes: the same trials, and one report."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from steadystep.lab.execution.store import Store
from study_commands import COMMANDS, numbers, run

pytestmark = pytest.mark.slow

LONG = ["compare", "--task", "digits-mlp", "--arms", "sgd@0.1:0.2", "--settings", "2", "--seeds", "1"]
LONG += ["--epochs", "150", "--ranks", "2", "--out", "out"]
"""Trials of some seconds, which write checkpoints."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_trains_the_same_trials_in_two_processes(tmp_path: Path, command: str) -> None:
    arguments = [command, *COMMANDS[command], *(["--epochs", "1"] if command == "success" else [])]
    for name, options in (("alone", ["--workers", "1"]), ("together", ["--ranks", "2"])):
        said = run(tmp_path, *arguments, *options, "--out", name)
        assert said.returncode == 0, said.stderr
        assert said.stdout.count("The full report") == 1
    assert numbers(tmp_path / "together").keys() == numbers(tmp_path / "alone").keys() != set()
    assert "--ranks 2" in next((tmp_path / "together").glob("*.md")).read_text()


def test_the_error_of_all_processes_is_one_line(tmp_path: Path) -> None:
    assert run(tmp_path, *LONG[:-2], "--out", "out", "--epochs", "1").returncode == 0
    said = run(tmp_path, *LONG, "--epochs", "2", "--seeds", "2", "--settings", "4")
    assert said.returncode == 2 and said.stderr.count("steadystep: ") == 1 and "another study" in said.stderr


def start(folder: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """Start the long study, and return it and its processes once there is a checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "steadystep", *LONG],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not [*folder.glob("out/checkpoints/*/latest.json")]:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.1)
    trained = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    assert len(trained) == 2
    return process, trained


def test_a_killed_process_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    process, trained = start(tmp_path / "killed")
    trained[1].kill()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    (tmp_path / "undisturbed").mkdir()
    assert run(tmp_path / "undisturbed", *LONG).returncode == 0
    assert numbers(tmp_path / "killed" / "out") == numbers(tmp_path / "undisturbed" / "out") != {}


@pytest.mark.parametrize("everyone", [True, False], ids=["terminal", "launcher"])
def test_ctrl_c_writes_a_checkpoint_and_says_how_to_resume(tmp_path: Path, everyone: bool) -> None:
    process, trained = start(tmp_path)
    if everyone:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.count("Resume with:") == 1 and "--ranks 2" in said
    assert not any(child.is_running() for child in trained)
    assert [*tmp_path.glob("out/checkpoints/*/latest.json")]
    assert Store(tmp_path / "out").declared().study.task == "digits-mlp"


def test_ctrl_c_before_the_first_trial_ends_it_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "steadystep", *LONG],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while len(psutil.Process(process.pid).children()) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        os.killpg(process.pid, signal.SIGINT)
        started = time.monotonic()
        process.communicate(timeout=60)
        assert process.returncode == 130 and time.monotonic() - started < 20
