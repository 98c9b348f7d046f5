"""What an arm declares in words is what its runs do."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from steadystep.lab.execution.batch_plan import plan_batches
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import run_trial
from steadystep.lab.training.trainer import make_optimizer
from tiny_study import TASK, load, tiny_trial

STEPS = 18


class Faulty(nn.Module):
    """A network whose gradient is not a number in some steps, while its loss is finite."""

    def __init__(self, faulty: range) -> None:
        super().__init__()
        self.layer, self.faulty, self.backwards = nn.Linear(6, 3), faulty, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        if self.training and y.requires_grad:
            y.register_hook(self._spoil)
        return y

    def _spoil(self, gradient: torch.Tensor) -> torch.Tensor:
        self.backwards += 1
        return gradient * math.nan if self.backwards in self.faulty else gradient


def run(faulty: range, folder: Path, **options: Any) -> Record:
    task = replace(TASK, model=lambda: Faulty(faulty))
    return run_trial(tiny_trial(options=options, lr=0.1), task, load(None), folder / "checkpoint.pt")


@pytest.mark.parametrize(
    ("options", "outcome", "steps"),
    [
        ({}, "diverged", 3),
        ({"nonfinite": "raise"}, "diverged", 3),
        ({"nonfinite": "skip"}, "finished", STEPS),
        ({"nonfinite": "propagate"}, "diverged", 4),
        ({"nonfinite": "skip", "max_consecutive_skips": 3}, "finished", STEPS),
        ({"nonfinite": "skip", "max_consecutive_skips": 1}, "diverged", 4),
    ],
)
def test_the_declared_policy_decides_about_gradients_that_are_not_finite(
    options: dict[str, Any], outcome: str, steps: int, tmp_path: Path
) -> None:
    # The gradient of the first batch is also computed once for its floating-point operations.
    record = run(range(4, 6), tmp_path, **options)
    assert record.outcome == outcome
    if outcome == "finished":
        assert record.steps == STEPS and all(map(math.isfinite, record.norm_quantiles))
    else:
        assert record.steps <= steps and "step" in record.reason


@pytest.mark.parametrize(
    ("options", "attribute"),
    [
        ({"variant": "epsilon_hat"}, ("variant", "epsilon_hat")),
        ({"rounding": "kahan"}, ("rounding", "kahan")),
        ({"maximize": True}, ("maximize", True)),
        ({"betas": (0.8, 0.9)}, ("betas", (0.8, 0.9))),
    ],
)
def test_a_declared_option_reaches_the_optimizer(options: dict[str, Any], attribute: tuple[str, Any]) -> None:
    optimizer = make_optimizer(tiny_trial(options=options), nn.Linear(2, 2))
    assert optimizer.param_groups[0][attribute[0]] == attribute[1]


@pytest.mark.parametrize(
    ("options", "together"),
    [
        ({}, True),
        ({"variant": "epsilon_hat"}, True),
        ({"nonfinite": "raise"}, True),
        ({"nonfinite": "skip"}, False),
        ({"backend": "eager"}, False),
    ],
)
def test_what_replicas_do_not_support_is_trained_alone(options: dict[str, Any], together: bool) -> None:
    trials = [tiny_trial(options=options, seed=seed, role="tune") for seed in range(4)]
    assert len(plan_batches(trials, replicas=4)) == (1 if together else 4)
