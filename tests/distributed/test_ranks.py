"""Two processes that talk over gloo: data parallel, fully sharded and tensor parallel, against one process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import faults
import ranks

WORLD = 2


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What each rank says of each scenario and optimizer: nothing, or its traceback."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, str(Path(ranks.__file__)), "RANK", str(WORLD), str(folder)]
    processes = [
        subprocess.Popen([str(rank) if part == "RANK" else part for part in command], stderr=subprocess.PIPE, text=True)
        for rank in range(WORLD)
    ]
    for process in processes:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD)]


@pytest.mark.parametrize("name", ranks.MAKERS)
@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in ranks.SCENARIOS])
def test_ranks_agree_with_one_process(verdicts: list[dict[str, str]], scenario: str, name: str) -> None:
    for verdict in verdicts:
        assert verdict[f"{scenario}: {name}"] == "", verdict[f"{scenario}: {name}"]


@pytest.mark.parametrize("label", ranks.SHARDED)
def test_clipping_is_the_same_however_sharded(verdicts: list[dict[str, str]], label: str) -> None:
    for verdict in verdicts:
        assert verdict[label] == "", verdict[label]


def test_a_fault_on_one_rank_leaves_no_trace_on_any(verdicts: list[dict[str, str]]) -> None:
    for number in faults.DISTRIBUTED:
        for verdict in verdicts:
            assert verdict[f"fault {number}"] == "", verdict[f"fault {number}"]
