"""Faults to inject into training, drawn by case number; test_faults.py runs the local ones, and ranks.py the others."""

import math
import random
from dataclasses import dataclass
from typing import Any

import torch

import steadystep
from cases import CLIPPERS, OPTIMIZERS, ClipperCase, OptimizerCase

CASES = 1000
DISTRIBUTED = range(CASES - 150, CASES)
"""The cases with two ranks, of which one gets the fault."""

STEPS = 8
OVERFLOW = "float16 overflow"
FAULTS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, OVERFLOW: 1e3}
SCALE = 2.0**8
"""Loss scale of float16 gradients; with it only the injected value overflows."""


@dataclass
class Fault:
    """One case: the optimizer, the clipper, and the kind and step of the fault; `rng` draws everything else."""

    number: int
    optimizer: OptimizerCase
    clipper: ClipperCase
    kind: str
    step: int
    rng: random.Random

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of parameters and gradients."""
        return torch.float16 if self.kind == OVERFLOW else torch.float32

    def __str__(self) -> str:
        return f"case {self.number}: {self.optimizer}, {self.clipper}, {self.kind} in step {self.step}"

    def gradient(self, shape: torch.Size, step: int, salt: int) -> torch.Tensor:
        """Return a random float32 gradient whose size varies from step to step."""
        generator = torch.Generator().manual_seed(1000 * self.number + 10 * step + salt)
        return torch.randn(shape, generator=generator) * 10.0 ** (step % 4 - 2)

    def scaled(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient as backward would compute it: in overflow cases, in float16 and times the loss scale."""
        return (gradient * SCALE).half() if self.kind == OVERFLOW else gradient

    def inject(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient as backward would compute it, with the fault in a random element."""
        faulty = gradient.clone()
        faulty.view(-1)[self.rng.randrange(faulty.numel())] = FAULTS[self.kind]
        assert self.kind != OVERFLOW or faulty.isfinite().all()
        scaled = self.scaled(faulty)
        assert not scaled.isfinite().all()
        return scaled


def draw(number: int) -> Fault:
    """Return the case with this number."""
    rng = random.Random(number)
    kind = rng.choice(list(FAULTS))
    return Fault(number, OPTIMIZERS[number % len(OPTIMIZERS)], rng.choice(CLIPPERS), kind, rng.randrange(STEPS), rng)


def snapshot(optimizer: steadystep.Optimizer, params: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return copies of the parameters, moments, counters and clipper statistics: everything except the ledger."""
    values = {f"parameter {i}": param.detach().clone() for i, param in enumerate(params)}
    for i, param in enumerate(params):
        values |= {f"{name} {i}": value.clone() for name, value in optimizer.state[param].items()}
    group = optimizer.param_groups[0]
    return values | {name: value.clone() for name, value in group.items() if name.startswith("clip.")}


def assert_bitwise(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], label: str) -> None:
    """Assert that two snapshots are equal bit for bit."""
    assert a.keys() == b.keys(), label
    for name, value in a.items():
        # Compared as bytes, because NaN marks an empty entry in a clipper's window and is not equal to itself.
        assert value.numpy().tobytes() == b[name].numpy().tobytes(), f"{label}: {name}"


def assert_accounted(ledger: dict[str, Any], clean: dict[str, Any], label: str) -> None:
    """Assert that the ledger of a run with one skipped step differs from that of a clean run by that step only."""
    assert ledger["skipped_nonfinite"] == 1, label
    assert ledger["attempted"] - clean["attempted"] == ledger["skipped"] - clean["skipped"] == 1, label
    # Outliers may be skipped before and after the fault.
    assert ledger["consecutive_skips"] - clean["consecutive_skips"] in (0, 1), label
    assert sum(ledger["faults"].values()) - sum(clean["faults"].values()) >= 1, label
    of_skips = {"attempted", "skipped", "skipped_nonfinite", "consecutive_skips", "first_skip", "last_skip", "faults"}
    same = clean.keys() - of_skips
    assert {name: ledger[name] for name in same} == {name: clean[name] for name in same}, label
