"""Test every clipper against an independent scalar reference, over steps of which some are skipped."""

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

import steadystep
from reference import clipping as reference

SHAPES = ((3, 2), (4,), (2, 2, 2))
GROUPS = ((0, 1), (2,))
OUTLIERS = steadystep.SkipOutlier(k=3, window=20, active_after=10, max_refusals=2)

CASES: dict[str, tuple[Callable[[], Any], Callable[[], reference.Clipper]]] = {
    "ClipNorm": (lambda: steadystep.ClipNorm(1.5), lambda: reference.ClipNorm(1.5)),
    "ClipNorm group": (
        lambda: steadystep.ClipNorm(1.5, scope="group"),
        lambda: reference.ClipNorm(1.5, "group", GROUPS),
    ),
    "ClipNorm parameter": (
        lambda: steadystep.ClipNorm(1.5, scope="parameter"),
        lambda: reference.ClipNorm(1.5, "parameter"),
    ),
    "ClipValue": (lambda: steadystep.ClipValue(0.5), lambda: reference.ClipValue(0.5)),
    "SmoothClip": (lambda: steadystep.SmoothClip(2.0), lambda: reference.SmoothClip(2.0)),
    "AGC": (lambda: steadystep.AGC(0.1), lambda: reference.AGC(SHAPES, 0.1)),
    "AutoClip": (lambda: steadystep.AutoClip(40, window=20), lambda: reference.AutoClip(40, window=20)),
    "ZClip": (lambda: steadystep.ZClip(warmup=10), lambda: reference.ZClip(warmup=10)),
    "ZClip capped": (
        lambda: steadystep.ZClip(threshold=1.0, warmup=10, max_norm=2.0),
        lambda: reference.ZClip(threshold=1.0, warmup=10, max_norm=2.0),
    ),
    "AdaGC": (lambda: steadystep.AdaGC(warmup=10), lambda: reference.AdaGC(warmup=10)),
    "SkipOutlier": (
        lambda: OUTLIERS,
        lambda: reference.SkipOutlier(k=3, window=20, active_after=10, max_refusals=2),
    ),
    "chain": (
        lambda: [OUTLIERS, steadystep.ClipValue(0.7), 1.0],
        lambda: reference.Chain(
            reference.SkipOutlier(k=3, window=20, active_after=10, max_refusals=2),
            reference.ClipValue(0.7),
            reference.ClipNorm(1.0),
        ),
    ),
    "chain of stateful clippers": (
        lambda: [steadystep.AutoClip(60, window=20), steadystep.ZClip(warmup=10), steadystep.AdaGC(warmup=15)],
        lambda: reference.Chain(
            reference.AutoClip(60, window=20), reference.ZClip(warmup=10), reference.AdaGC(warmup=15)
        ),
    ),
}


def gradients(rng: random.Random, step: int) -> list[list[float] | None]:
    """Return gradients whose norms vary by a factor of 1000; a few are not finite, some missing, some all zero."""
    scale = 10.0 ** rng.uniform(-1.5, 1.5)
    tensors: list[list[float] | None] = []
    for shape in SHAPES:
        size = math.prod(shape)
        draw = rng.random()
        tensors.append(
            None if draw < 0.08 else [0.0] * size if draw < 0.12 else [scale * rng.gauss(0, 1) for _ in range(size)]
        )
    if tensors[0] is not None and step % 11 == 7:
        tensors[0][1] = rng.choice((math.nan, math.inf, -math.inf))
    return tensors


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_clipped_gradients_and_refusals_are_those_of_the_reference(case: str, seed: int) -> None:
    make, make_reference = CASES[case]
    rng = random.Random(seed)
    params = [
        torch.tensor([rng.gauss(0, 1) for _ in range(math.prod(shape))], dtype=torch.float64)
        .reshape(shape)
        .requires_grad_()
        for shape in SHAPES
    ]
    optimizer = steadystep.SGD([{"params": params[:2]}, {"params": params[2:]}], lr=1.0, clip=make())
    clipper = make_reference()
    decisions = []
    for step in range(60):
        raw = gradients(rng, step)
        before = [param.detach().flatten().tolist() for param in params]
        for param, values in zip(params, raw, strict=True):
            param.grad = None if values is None else torch.tensor(values, dtype=torch.float64).reshape(param.shape)
        if all(values is None for values in raw):
            continue
        want, accepted = clipper.step(raw, before)
        decisions.append(accepted)
        applied = optimizer.ledger["applied"]
        optimizer.step()
        assert optimizer.ledger["applied"] - applied == accepted, f"step {step}"
        for param, old, values in zip(params, before, want, strict=True):
            moved = [a - b for a, b in zip(old, param.detach().flatten().tolist(), strict=True)]
            target = values if accepted and values is not None else [0.0] * len(old)
            assert moved == pytest.approx(target, rel=1e-9, abs=1e-12), f"step {step}"
    assert True in decisions and False in decisions
