"""Gradient norms before clipping, from which to choose a threshold."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from steadystep.arguments import checked, described
from steadystep.gradients.gradient_set import gather_gradients
from steadystep.kernels.dispatch import measure
from steadystep.step.dynamo import untraced

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class NormProfile:
    """The global gradient norms of some batches, at the same parameters."""

    norms: tuple[float, ...]

    def quantile(self, q: float) -> float:
        """Return the q-quantile of the norms. Norms that are not finite are left out."""
        finite = [norm for norm in self.norms if np.isfinite(norm)]
        return float(np.quantile(finite, q)) if finite else float("nan")

    def clip_rate(self, max_norm: float) -> float:
        """Return the fraction of the batches that clipping at `max_norm` would have changed."""
        return sum(norm > max_norm for norm in self.norms) / len(self.norms)

    def __str__(self) -> str:
        """Return a table of quantiles, with the norm at each and the clip rate with that norm as the threshold."""
        quantiles = ((q, self.quantile(q)) for q in (0.1, 0.25, 0.5, 0.75, 0.9, 0.99))
        rows = (f"{q:<8g}  {norm:<9.4g}  {self.clip_rate(norm):.0%}" for q, norm in quantiles)
        return "\n".join(["quantile  norm       clip rate", *rows])


@checked
@untraced
def norm_profile(
    model: nn.Module, batches: Iterable[Batch], loss: Callable[[nn.Module, Batch], torch.Tensor]
) -> NormProfile:
    """Measure the global gradient norm of each of some batches, without training.

    Parameters, buffers (running statistics), gradients, the mode and torch's random state are restored. The norms at
    initialisation are larger than later ones: profile a checkpoint too before settling.

    Args:
        model: the model, in the mode to measure in, usually training.
        batches: the batches to measure, at least one.
        loss: loss(model, batch) -> a scalar tensor.

    Raises:
        TypeError: for anything but a module.
        ValueError: if there is no batch.

    >>> import torch, steadystep
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> batches = [torch.tensor([[1.0]]), torch.tensor([[3.0]])]
    >>> profile = steadystep.norm_profile(model, batches, lambda model, x: model(x).sum())
    >>> profile.norms, profile.clip_rate(2.0)
    ((1.0, 3.0), 0.5)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"norm_profile takes a module, and got {described(model)}: norm_profile(model, batches, loss)")
    old_gradients = [parameter.grad for parameter in model.parameters()]
    buffers = [buffer.clone() for buffer in model.buffers()]
    norms = []
    try:
        with torch.random.fork_rng():
            for batch in batches:
                for parameter in model.parameters():
                    parameter.grad = None
                loss(model, batch).backward()
                gradients = gather_gradients([{"params": list(model.parameters())}], "norm_profile")
                norms.append(float(measure(gradients).global_norm) if gradients.gradients else 0.0)
    finally:
        with torch.no_grad():
            for buffer, before in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(before)
        for parameter, gradient in zip(model.parameters(), old_gradients, strict=True):
            parameter.grad = gradient
    if not norms:
        raise ValueError("norm_profile got no batch: give at least one")
    return NormProfile(tuple(norms))
