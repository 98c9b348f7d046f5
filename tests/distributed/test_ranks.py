"""Data-parallel, fully sharded and tensor-parallel training in two processes, compared with one process."""

from collections.abc import Callable
from pathlib import Path

import pytest

import faults
import ranks


@pytest.fixture(scope="module")
def outcomes(
    run_ranks: Callable[[str, Path], list[dict[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, str]]:
    """Run the ranks; for each, return the outcome of every scenario and optimizer: an empty string or a traceback."""
    return run_ranks(str(ranks.__file__), tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", ranks.MAKERS)
@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in ranks.SCENARIOS])
def test_ranks_agree_with_one_process(outcomes: list[dict[str, str]], scenario: str, name: str) -> None:
    for outcome in outcomes:
        assert outcome[f"{scenario}: {name}"] == "", outcome[f"{scenario}: {name}"]


@pytest.mark.parametrize("label", ranks.SHARDED)
def test_clipping_is_the_same_however_sharded(outcomes: list[dict[str, str]], label: str) -> None:
    for outcome in outcomes:
        assert outcome[label] == "", outcome[label]


def test_a_fault_on_one_rank_changes_nothing_on_any_rank(outcomes: list[dict[str, str]]) -> None:
    for number in faults.DISTRIBUTED:
        for outcome in outcomes:
            assert outcome[f"fault {number}"] == "", outcome[f"fault {number}"]
