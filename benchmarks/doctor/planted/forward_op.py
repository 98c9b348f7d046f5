"""`forward-op`: an operation of the forward pass that the weights sooner or later lead out of its domain."""

from typing import Any

import torch
from torch import nn

from benchmarks.doctor.planted.case import FIRST, LAST, Planted, drawn
from benchmarks.doctor.programs import language_model, regression_net
from benchmarks.doctor.run import Run


class MeanAndVariance(regression_net.Residual):
    """The head predicts the mean, and the variance without anything that would keep it above zero."""

    def __init__(self) -> None:
        super().__init__(outputs=2)
        with torch.no_grad():
            self.head.weight[1] *= 0.1
            self.head.bias[1] = 0.7


def _negative_log_likelihood(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    mean, variance = model(x).split(1, dim=1)
    return (torch.log(variance) + (y - mean) ** 2 / variance).mean()


def _sound_negative_log_likelihood(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    mean, raw = model(x).split(1, dim=1)
    variance = nn.functional.softplus(raw) + 1e-2
    return (torch.log(variance) + (y - mean) ** 2 / variance).mean()


def _log_of_a_variance(seed: int, sound: bool = False) -> Run:
    """Let the predicted variance fall below zero, where its logarithm is NaN."""
    torch.manual_seed(seed)
    model = MeanAndVariance()
    lr = drawn("log-of-a-variance", seed).uniform(1e-2, 1.5e-2)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss = _sound_negative_log_likelihood if sound else _negative_log_likelihood
    return Run(model, optimizer, loss, regression_net.batches(seed))


def _pruned_layer(seed: int) -> tuple[int, int]:
    """Draw the block, and the step at which its threshold passes the weights of a uniform row."""
    draw = drawn("pruned-attention", seed)
    return draw.randrange(2), draw.randrange(FIRST + 10, LAST)


def _pruned_attention(seed: int, sound: bool = False) -> Run:
    """Attention weights below a growing threshold are dropped; a row without any left has a softmax of NaN."""
    run = language_model.make(seed)
    block, step = _pruned_layer(seed)
    attention: Any = run.model.get_submodule(f"blocks.{block}.attention")
    attention.growth = 2 / language_model.LENGTH / step
    attention.keep_largest = sound
    return run


CASES = (
    Planted(
        "log-of-a-variance", "forward-op", "regression_net", _log_of_a_variance,
        lambda seed: ("log", "variance", "head"), "not finite",
    ),
    Planted(
        "pruned-attention", "forward-op", "language_model", _pruned_attention,
        lambda seed: (f"blocks.{_pruned_layer(seed)[0]}.attention",), "not finite",
    ),
)  # fmt: skip
