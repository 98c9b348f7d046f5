"""A network, its batches, and the training loop by hand that every trainer has to reproduce."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

import steadystep

Batch = dict[str, torch.Tensor]

CULPRIT = "net.2.bias"
LR, DECAY, CLIP = 1e-2, 0.01, 0.05  # the threshold is below most norms, so that clipping matters


class Model(nn.Module):
    """A small network whose loss can plant any gradient in one parameter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor, plant: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the loss; `plant` is added to the gradient of the last bias."""
        last = cast(nn.Linear, self.net[2])
        return {"loss": (self.net(x).float() - y).square().mean() + plant * last.bias.sum()}


def batches(plants: Sequence[float]) -> list[Batch]:
    """Return one batch for each number to plant; a batch is the same whatever is planted in the others."""
    made, number = [], 0
    for plant in plants:
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(8, 4, generator=generator)
        made.append({"x": x, "y": x.sum(1, keepdim=True), "plant": torch.tensor(plant)})
        number += plant == 0  # a planted batch is one more; the sound ones keep their numbers
    return made


def scheduler_of(optimizer: Any) -> LambdaLR:
    """Return a schedule that changes the learning rate after every step."""
    return LambdaLR(optimizer, lambda step: 1 / (1 + 0.5 * step))


def optimizer_of(model: nn.Module, **options: Any) -> Any:
    """Return the optimizer of all loops."""
    return steadystep.AdamW(model.parameters(), lr=LR, weight_decay=DECAY, **{"clip": CLIP, **options})


@dataclass
class Outcome:
    """What is left after training, to be compared bit by bit, and what was logged."""

    parameters: dict[str, torch.Tensor]
    moments: list[dict[str, torch.Tensor]]
    lr: float
    norms: list[float] = field(default_factory=list)
    ledger: dict[str, Any] = field(default_factory=dict)


def outcome_of(model: nn.Module, optimizer: Any, norms: Sequence[float] = ()) -> Outcome:
    """Return the outcome of a training run; the moments are in the order of the parameters' names."""
    names = {param: name for name, param in model.named_parameters()}
    state = sorted(((names[param], entries) for param, entries in optimizer.state.items()), key=lambda item: item[0])
    return Outcome(
        {name.removeprefix("module."): param.detach().clone() for name, param in model.named_parameters()},
        [{key: torch.as_tensor(value).clone() for key, value in entries.items()} for _, entries in state],
        optimizer.param_groups[0]["lr"],
        list(norms),
        optimizer.ledger,
    )


def train(data: Sequence[Batch], *, decay_biases: bool = True, **options: Any) -> Outcome:
    """Train by hand."""
    model = Model()
    optimizer = optimizer_of(model, **options)
    if not decay_biases:
        matrices, biases = ([param for param in model.parameters() if param.ndim == dim] for dim in (2, 1))
        groups = [{"params": matrices, "weight_decay": DECAY}, {"params": biases, "weight_decay": 0.0}]
        optimizer = steadystep.AdamW(groups, lr=LR, **{"clip": CLIP, **options})
    optimizer.name_parameters(model)
    scheduler, norms = scheduler_of(optimizer), []
    for batch in data:
        optimizer.zero_grad()
        model(**batch)["loss"].backward()
        optimizer.step()
        norms.append(optimizer.ledger["norm_before"])
        if optimizer.last_step_applied:
            scheduler.step()
    return outcome_of(model, optimizer, norms)


def assert_same(ours: Outcome, theirs: Outcome) -> None:
    """Assert that two runs left the same bits."""
    assert ours.parameters.keys() == theirs.parameters.keys()
    for name, param in ours.parameters.items():
        assert torch.equal(param, theirs.parameters[name]), name
    assert len(ours.moments) == len(theirs.moments) > 0
    for mine, other in zip(ours.moments, theirs.moments, strict=True):
        assert mine.keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in mine.items())
    assert ours.lr == theirs.lr


SOUND = (0.0,) * 6
WITH_NAN = (0.0, 0.0, float("nan"), 0.0, 0.0, float("inf"), 0.0, 0.0)
WITH_HUGE = (0.0, 0.0, 1e30, 0.0, 0.0)
