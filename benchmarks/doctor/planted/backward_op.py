"""`backward-op`: the loss is finite, but not the derivative of one of its operations."""

from typing import Any

import torch
from torch import nn

from benchmarks.doctor.planted.case import Planted, drawn
from benchmarks.doctor.programs import autoencoder, regression_net
from benchmarks.doctor.run import Run


class Rates(regression_net.Residual):
    """Predicts rates of events, which cannot be negative."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rate = super().forward(x)
        return rate * (rate > 0)


def _deviance(model: nn.Module, batch: Any) -> torch.Tensor:
    x, counts = batch
    rate = model(x)
    # log(0) is never selected, but its infinite derivative is multiplied by zero.
    logarithm = torch.where(rate > 0, torch.log(rate), torch.full_like(rate, -4.0))
    return 2 * (torch.xlogy(counts, counts) - counts * logarithm - counts + rate).mean()


def _sound_deviance(model: nn.Module, batch: Any) -> torch.Tensor:
    x, counts = batch
    rate = model(x)
    positive = torch.where(rate > 0, rate, torch.ones_like(rate))
    logarithm = torch.where(rate > 0, torch.log(positive), torch.full_like(rate, -4.0))
    return 2 * (torch.xlogy(counts, counts) - counts * logarithm - counts + rate).mean()


def _infinite_branch(seed: int, sound: bool = False) -> Run:
    """Let a rate become zero: `torch.where` hides log(0) in the loss, but not in the gradient."""
    torch.manual_seed(seed)
    model = Rates()
    with torch.no_grad():
        model.head.weight.mul_(0.1)
        model.head.bias.add_(drawn("infinite-branch", seed).uniform(3.0, 4.0))
    counts = [(x, (2 * (1 + (1.5 * y).tanh())).round()) for x, y in regression_net.batches(seed)]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return Run(model, optimizer, _sound_deviance if sound else _deviance, counts)


class Inks(autoencoder.Autoencoder):
    """An autoencoder whose output, as ink, is not negative."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        ink = super().forward(images)
        return ink * (ink > 0)


def _error_by_pixel(model: nn.Module, batch: Any) -> torch.Tensor:
    return ((model(batch) - batch) ** 2).mean(0).sqrt().mean()


def _sound_error_by_pixel(model: nn.Module, batch: Any) -> torch.Tensor:
    return (((model(batch) - batch) ** 2).mean(0) + 1e-8).sqrt().mean()


def _root_of_zero(seed: int, sound: bool = False) -> Run:
    """Let the root mean square error of an always empty pixel become zero, where the root has no derivative."""
    torch.manual_seed(seed)
    model = Inks()
    with torch.no_grad():
        output: Any = model.decoder[2]
        output.weight *= 0.1
        output.bias += drawn("root-of-zero", seed).uniform(0.6, 1.2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1.5e-3)
    loss = _sound_error_by_pixel if sound else _error_by_pixel
    return Run(model, optimizer, loss, autoencoder.batches(seed, centred=False))


CASES = (
    Planted(
        "infinite-branch", "backward-op", "regression_net", _infinite_branch,
        lambda seed: ("log", "Log", "where", "Where"), "not finite",
    ),
    Planted(
        "root-of-zero", "backward-op", "autoencoder", _root_of_zero,
        lambda seed: ("sqrt", "Sqrt", "Pow0"), "not finite",
    ),
)  # fmt: skip
