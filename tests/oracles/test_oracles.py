"""Ours is theirs wherever the definition is the same, and only there."""

import pytest

from steadystep.optimizers import OPTIMIZERS
from oracles.table import CASES, Case
from oracles.trajectories import error


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_trajectory(case: Case, record_property) -> None:
    problem = case.problem()
    found = error(case.ours(problem), case.theirs(problem))
    print(f"{case}: {found:.1e}")
    assert found <= case.tolerance


def others(case: Case) -> list[dict[str, object]]:
    """The options by which ours would be another optimizer: each other variant, and no clipping."""
    variants = OPTIMIZERS[case.name].variants
    if case.name == "SGD" and "momentum" not in case.options:
        variants = ()  # without momentum they are one
    own = case.options.get("variant", variants[:1] and variants[0])
    return [{"variant": v} for v in variants if v != own] + [{"clip": None}] * ("clip" in case.options)


@pytest.mark.parametrize("case", [case for case in CASES if others(case)], ids=str)
def test_the_comparison_tells_definitions_apart(case: Case) -> None:
    problem = case.problem()
    ours = case.ours(problem)
    assert all(error(case.ours(problem, **other), ours) > 100 * case.tolerance for other in others(case))
