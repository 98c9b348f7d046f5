"""Faults injected into real training: whatever the gradient holds, a refused step leaves no trace but in the ledger."""

import copy
import math
import random
from typing import Any

import pytest
import torch

import steadystep
from cases import CLIPPERS, OPTIMIZERS

CASES = 1000
CHUNK = 100
SHAPES = ((4, 3), (5,), (2, 2, 2), ())
FAULTS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "float16 overflow": torch.tensor(7e4).half().item()}


def parameters(rng: random.Random) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in SHAPES]


def set_gradients(params: list[torch.Tensor], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator) * 10 ** (seed % 4 - 2)


def everything(optimizer: steadystep.Optimizer, params: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parameters, moments, counters and clipper statistics; all but the ledger, which says what happened."""
    seen = {f"parameter {i}": param.detach().clone() for i, param in enumerate(params)}
    for i, param in enumerate(params):
        seen |= {f"{name} {i}": value.clone() for name, value in optimizer.state[param].items()}
    group = optimizer.param_groups[0]
    return seen | {
        name: value.clone()
        for name, value in group.items()
        if name.startswith("clip.") and not name.endswith("refusals")
    }


def assert_bitwise(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        # Compared as bytes: NaN marks an empty place in a clipper's window, and equals nothing.
        assert value.numpy().tobytes() == b[name].numpy().tobytes(), name


@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_a_fault_at_a_random_place_leaves_no_trace(first: int) -> None:
    for number in range(first, first + CHUNK):
        rng = random.Random(number)
        case, clipper, fault = rng.choice(OPTIMIZERS), rng.choice(CLIPPERS), rng.choice(list(FAULTS))
        params = parameters(rng)
        optimizer = case.make(params, clip=clipper.make())
        undisturbed = copy.deepcopy(optimizer)
        others: list[torch.Tensor] = undisturbed.param_groups[0]["params"]
        when, steps = rng.randrange(8), 10
        label = f"case {number}: {case}, {clipper}, {fault} in step {when}"
        refused = 0
        for step in range(steps):
            if step == when:
                set_gradients(params, 1000 + number)
                hit = rng.choice(params)
                assert hit.grad is not None
                hit.grad.view(-1)[rng.randrange(hit.numel())] = FAULTS[fault]
                before: dict[str, Any] = {"applied": optimizer.ledger["applied"]}
                traces = everything(optimizer, params) if optimizer.state else None
                optimizer.step()
                refused += 1
                assert optimizer.ledger["applied"] == before["applied"], label
                assert optimizer.ledger["skipped_nonfinite"] == 1, label
                if traces is not None:
                    assert_bitwise(everything(optimizer, params), traces)
            for group, owner in ((params, optimizer), (others, undisturbed)):
                set_gradients(group, step)
                owner.step()
        assert_bitwise(everything(optimizer, params), everything(undisturbed, others))
        ledger, clean = optimizer.ledger, undisturbed.ledger
        assert ledger["attempted"] == clean["attempted"] + refused, label
        assert {k: v for k, v in ledger.items() if "attempted" not in k and "skipped" not in k} == {
            k: v for k, v in clean.items() if "attempted" not in k and "skipped" not in k
        }, label
