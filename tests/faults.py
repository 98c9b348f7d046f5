"""Faults to be injected into training, drawn by number: test_faults has most of them, ranks.py the distributed ones."""

import math
import random
from dataclasses import dataclass
from typing import Any

import torch

import steadystep
from cases import CLIPPERS, OPTIMIZERS, ClipperCase, OptimizerCase

CASES = 1000
DISTRIBUTED = range(CASES - 150, CASES)
"""The cases in which two ranks train, and one of them meets the fault."""

STEPS = 8
OVERFLOW = "float16 overflow"
FAULTS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, OVERFLOW: 1e3}
SCALE = 2.0**8
"""By which a loss is multiplied before its gradients are float16: what is injected then overflows, and nothing else."""


@dataclass
class Fault:
    """One case: who is trained, and which fault comes in which step; `rng` draws the rest."""

    number: int
    optimizer: OptimizerCase
    clipper: ClipperCase
    kind: str
    step: int
    rng: random.Random

    @property
    def dtype(self) -> torch.dtype:
        return torch.float16 if self.kind == OVERFLOW else torch.float32

    def __str__(self) -> str:
        return f"case {self.number}: {self.optimizer}, {self.clipper}, {self.kind} in step {self.step}"

    def gradient(self, shape: torch.Size, step: int, salt: int) -> torch.Tensor:
        """In float32, of a size that varies from step to step."""
        generator = torch.Generator().manual_seed(1000 * self.number + 10 * step + salt)
        return torch.randn(shape, generator=generator) * 10.0 ** (step % 4 - 2)

    def stored(self, gradient: torch.Tensor) -> torch.Tensor:
        """A gradient as backward would leave it: in float16 times the scale of the loss."""
        return (gradient * SCALE).half() if self.kind == OVERFLOW else gradient

    def strike(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient as backward would leave it, with the fault at a random element."""
        struck = gradient.clone()
        struck.view(-1)[self.rng.randrange(struck.numel())] = FAULTS[self.kind]
        assert self.kind != OVERFLOW or struck.isfinite().all()
        stored = self.stored(struck)
        assert not stored.isfinite().all()
        return stored


def draw(number: int) -> Fault:
    rng = random.Random(number)
    kind = rng.choice(list(FAULTS))
    return Fault(number, OPTIMIZERS[number % len(OPTIMIZERS)], rng.choice(CLIPPERS), kind, rng.randrange(STEPS), rng)


def everything(optimizer: steadystep.Optimizer, params: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parameters, moments, counters and clipper statistics; all but the ledger, which says what happened."""
    seen = {f"parameter {i}": param.detach().clone() for i, param in enumerate(params)}
    for i, param in enumerate(params):
        seen |= {f"{name} {i}": value.clone() for name, value in optimizer.state[param].items()}
    group = optimizer.param_groups[0]
    return seen | {name: value.clone() for name, value in group.items() if name.startswith("clip.")}


def assert_bitwise(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], label: str) -> None:
    assert a.keys() == b.keys(), label
    for name, value in a.items():
        # Compared as bytes: NaN marks an empty place in a clipper's window, and equals nothing.
        assert value.numpy().tobytes() == b[name].numpy().tobytes(), f"{label}: {name}"


def assert_accounted(ledger: dict[str, Any], clean: dict[str, Any], label: str) -> None:
    """The ledger of a training with one refused step beside that of the same training without it."""
    assert ledger["skipped_nonfinite"] == 1, label
    assert ledger["attempted"] - clean["attempted"] == ledger["skipped"] - clean["skipped"] == 1, label
    # Outliers may be refused on both sides of it.
    assert ledger["consecutive_skips"] - clean["consecutive_skips"] in (0, 1), label
    same = clean.keys() - {"attempted", "skipped", "skipped_nonfinite", "consecutive_skips"}
    assert {name: ledger[name] for name in same} == {name: clean[name] for name in same}, label
