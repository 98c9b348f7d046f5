"""Trajectories are equal where the definitions are equal, and the comparison detects different definitions."""

from collections.abc import Callable
from typing import Any

import pytest

from oracles.table import CASES, Case
from oracles.trajectories import error
from steadystep.optimizers import OPTIMIZERS

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras and NumPy 2


def others(case: Case) -> list[dict[str, Any]]:
    """Return overrides that make our optimizer differ from the oracle: every other variant, and no clipping."""
    variants = OPTIMIZERS[case.name].variants
    same = {case.options.get("variant", variants[0]), *case.same_variants}
    unclipped: list[dict[str, Any]] = [{"clip": None}] if "clip" in case.options else []
    return [{"variant": variant} for variant in variants if variant not in same] + unclipped


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_trajectory(case: Case, record_property: Callable[[str, object], None]) -> None:
    problem = case.problem()
    difference = error(case.ours(problem), case.theirs(problem))
    record_property(str(case), difference)
    assert difference <= case.tolerance, case.note


@pytest.mark.parametrize("case", [case for case in CASES if others(case)], ids=str)
def test_another_definition_is_detected(case: Case) -> None:
    problem = case.problem()
    ours = case.ours(problem)
    for other in others(case):
        assert error(case.ours(problem, **other), ours) > 100 * case.tolerance, other
