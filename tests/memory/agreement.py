"""When two sides agree, and what a good refusal is."""

import re
from collections.abc import Mapping, Sequence

import torch

import steadystep
from memory.sides import Side

Tolerance = tuple[float, float]
"""Relative and absolute."""

# The sides compute sums in different orders; in half precision, that can change the last digit in every step.
BETWEEN_BACKENDS: Mapping[torch.dtype, Tolerance] = {
    torch.float64: (1e-11, 1e-12),
    torch.float32: (1e-5, 1e-5),
    torch.float16: (0.005, 0.005),
    torch.bfloat16: (0.02, 0.02),
}
WITH_TORCH: Mapping[torch.dtype, Tolerance] = {torch.float64: (1e-9, 1e-10), torch.float32: (1e-3, 2e-4)}

REFUSALS = (ValueError, RuntimeError, TypeError)

_NAMED = re.compile(r"weight\d|group \d+, tensor \d+")


def assert_refused_well(error: Exception) -> None:
    """Assert that a refusal is of a sensible type and says which tensor is the cause."""
    text = f"{type(error).__name__}: {error}"
    assert isinstance(error, REFUSALS), text
    assert _NAMED.search(str(error)), f"the refusal names no tensor: {text}"


def assert_same_bits(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor], label: str) -> None:
    """Assert that parameters are what they were."""
    changed = [number for number, (a, b) in enumerate(zip(found, expected, strict=True)) if not torch.equal(a, b)]
    assert not changed, f"{label} parameters {changed}"


def assert_agree(one: Side, other: Side, tolerance: Tolerance) -> None:
    """Assert that two sides have about the same parameters, and the same state as far as both have it."""
    label = f"{one.kind} and {other.kind}"
    for number, (a, b) in enumerate(zip(one.params, other.params, strict=True)):
        _assert_close(a.detach(), b.detach(), tolerance, f"{label}: parameter {number}")
        mine, theirs = (side.optimizer.state.get(side.params[number], {}) for side in (one, other))
        for name in mine.keys() & theirs.keys():
            if mine[name] is not None and theirs[name] is not None:  # torch stores None instead of no momentum
                x, y = (torch.as_tensor(state[name]).double() for state in (mine, theirs))
                _assert_close(x, y, tolerance, f"{label}: state {name} of parameter {number}")
    if isinstance(one.optimizer, steadystep.Optimizer) and isinstance(other.optimizer, steadystep.Optimizer):
        assert one.optimizer.ledger["applied"] == other.optimizer.ledger["applied"], label


def _assert_close(a: torch.Tensor, b: torch.Tensor, tolerance: Tolerance, label: str) -> None:
    rtol, atol = tolerance
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol, equal_nan=True, msg=lambda text: f"{label}: {text}")
