"""A study that is killed repeatedly gives exactly the same results as an uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from child_processes import ends_with_this_process
from steadystep.lab.execution.run_study import read_study
from steadystep.lab.study.records import Results
from tiny_study import digits_study, numbers

TESTS = Path(__file__).parents[2]
KILLS = 20


def start(folder: Path, workers: int, errors: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ends_with_this_process([sys.executable, "-m", "drive_study", "digits", str(folder), str(workers)]),
        cwd=TESTS,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )


def wait_for_a_checkpoint(folder: Path, since: float, timeout: float = 20.0) -> None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with suppress(FileNotFoundError):  # the file is being replaced
            if any(path.stat().st_mtime > since for path in (folder / "checkpoints").glob("*.pt")):
                return
        time.sleep(0.005)


def all_numbers(results: Results) -> dict:
    """Return all numbers in a study except times."""
    return {
        "chosen": dict(results.chosen),
        "tuning": {cell: [numbers(record) for record in records] for cell, records in results.tuning.items()},
        "final": {cell: [numbers(record) for record in records] for cell, records in results.final.items()},
    }


def test_twenty_kills_change_no_number(tmp_path: Path) -> None:
    moments = random.Random(0)
    folder, errors = tmp_path / "killed", (tmp_path / "errors").open("w+")
    unfinished = 0
    for kill in range(KILLS):
        begun = time.time()
        process = start(folder, 2, errors)
        assert process.stdout
        if kill % 4 == 3:
            time.sleep(moments.uniform(0.05, 3))  # during the imports or soon after
        else:
            # Kill after a few more trials, at a random point of the next one. Counting trials instead of seconds makes
            # sure that every kill happens during the study, on fast and slow machines.
            for _ in range(moments.randint(1, 8)):
                process.stdout.readline()
            if kill % 4:  # wait until a checkpoint was written as well
                wait_for_a_checkpoint(folder, begun)
            time.sleep(moments.uniform(0, 0.1))
        assert process.poll() is None, f"it ended before kill {kill}: {(tmp_path / 'errors').read_text()}"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        unfinished += any((folder / "checkpoints").glob("*.pt"))
    assert unfinished >= 5, "hardly a kill came while a trial had a checkpoint"
    for directory, workers in ((folder, 2), (tmp_path / "undisturbed", 1)):
        with start(directory, workers, errors) as process:
            assert process.stdout
            output = process.stdout.read()
        assert process.returncode == 0, (tmp_path / "errors").read_text()
        assert "warning" not in output
    study, _ = digits_study()
    killed, undisturbed = read_study(folder), read_study(tmp_path / "undisturbed")
    assert killed.study == undisturbed.study == study
    assert all_numbers(killed) == all_numbers(undisturbed)
    assert not list((folder / "checkpoints").glob("*.pt"))
    assert (tmp_path / "errors").read_text() == ""
