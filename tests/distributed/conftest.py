"""Processes for the distributed tests."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WORLD = 2


@pytest.fixture(scope="session")
def run_ranks() -> Callable[[str, Path], list[dict[str, str]]]:
    """Return a function that runs a program, `PROGRAM RANK WORLD FOLDER`, as all ranks, and returns their outcomes."""

    def run(program: str, folder: Path) -> list[dict[str, str]]:
        processes = [
            subprocess.Popen(
                [sys.executable, program, str(rank), str(WORLD), str(folder)], stderr=subprocess.PIPE, text=True
            )
            for rank in range(WORLD)
        ]
        try:
            for process in processes:
                _, error = process.communicate(timeout=600)
                assert process.returncode == 0, error
        finally:
            for process in processes:
                process.kill()
        return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD)]

    return run
