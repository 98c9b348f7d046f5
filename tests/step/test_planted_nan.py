"""A planted NaN is found at its step, in its tensor, whatever the network."""

import math

import pytest

from planted_nan import NETWORKS, plant


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETWORKS)
def test_a_planted_nan_is_found(name: str, seed: int) -> None:
    found = plant(name, seed, in_example=False)
    assert (found.error.step, found.error.tensors) == (found.step, (found.place,))
    assert found.ledger["faults"] == {found.place: 1}
    assert found.looks_like == "this batch alone"
    assert [key for key, norm in found.error.norms.items() if not math.isfinite(norm)] == [found.place]
    found = plant(name, seed, in_example=True)
    assert found.error.step == found.step and found.ledger["first_skip"]["step"] == found.step
    assert set(found.error.tensors) == set(found.ledger["faults"]) != set()
    assert found.looks_like == "this batch alone"
