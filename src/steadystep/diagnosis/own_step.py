"""What a user's own step does between two steps of the optimizer: its backward passes and its clipping."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.utils import clip_grad

from steadystep.diagnosis.changes import Change
from steadystep.diagnosis.play import play, total_norm
from steadystep.diagnosis.run import Moment, Run

WATCHED = 16
"""The first and the last steps of the user's that are watched."""
ADDED = 1.5
"""Mean losses that backward passes add up to, from which on they are not averaged."""
FEWEST = 2
"""Steps of the optimizer that must show the same."""


@dataclass(frozen=True)
class Clipping:
    """A call of `clip_grad_norm_`.

    Attributes:
        max_norm: the norm that was asked for.
        share: the share of the optimizer's parameters that it was given.
        is_last: whether no gradient was computed after it and before the optimizer's step.
    """

    max_norm: float
    share: float
    is_last: bool = True


@dataclass
class Span:
    """What has happened since the optimizer's step before.

    Attributes:
        roots: the values on which `backward` was called, with the scale of a GradScaler divided out.
        losses: the losses of the batches of the user's steps, computed from the model.
        clippings: the calls of `clip_grad_norm_`.
        norm: of the gradients that the optimizer was given.
    """

    roots: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    clippings: list[Clipping] = field(default_factory=list)
    norm: float = math.nan

    @property
    def ratio(self) -> float:
        """What backward passes have added up, as a multiple of the mean loss of the batches."""
        mean = sum(self.losses) / len(self.losses) if self.losses else 0.0
        return sum(self.roots) / mean if mean else math.nan


@dataclass(frozen=True)
class OwnStep:
    """What the first steps of a user's have in common."""

    spans: tuple[Span, ...]

    @property
    def factor(self) -> float:
        """The factor by which a loss is multiplied by hand before its only backward pass; 1 if there is none."""
        ratios = [span.ratio for span in self.spans if len(span.roots) == len(span.losses) == 1]
        if not ratios or not all(math.isfinite(ratio) for ratio in ratios):
            return 1.0
        middle = median(ratios)
        steady = all(abs(ratio - middle) <= 0.01 * abs(middle) for ratio in ratios)
        return middle if steady and middle > 0 else 1.0

    @property
    def added(self) -> tuple[int, float]:
        """The number of backward passes to a step of the optimizer, and the mean losses that they add up to.

        1 and 1.0 if there is one pass, or if micro-batches are averaged, which add up to one mean loss.
        """
        several = [span for span in self.spans if len(span.roots) > 1]
        if len(several) < max(FEWEST, len(self.spans) - 2):
            return 1, 1.0
        ratio = median(span.ratio for span in several)
        return (round(median(len(span.roots) for span in several)), ratio) if ratio > ADDED else (1, 1.0)

    @property
    def unbound(self) -> Clipping | None:
        """A clipping that the optimizer's gradients do not keep to, or None."""
        pairs = [(span.norm, each) for span in self.spans for each in span.clippings if math.isfinite(span.norm)]
        return next((each for norm, each in pairs if norm > 1.01 * each.max_norm), None)


def watched(run: Run, stretches: Iterable[tuple[Moment, range]]) -> OwnStep:
    """Take some steps of a run again, and note what they do.

    Args:
        run: the run, whose step is its own.
        stretches: moments, and the numbers of the steps that are taken from them.
    """
    spans: list[Span] = []
    span = Span()

    def batch(run: Run, index: int) -> None:
        now = run.take()
        with torch.no_grad():
            span.losses.append(float(run.loss(run.batch(index))))
        run.put_back(now)

    def end(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        nonlocal span
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        span.norm = total_norm(gradients)
        spans.append(span)
        span = Span()

    def backward(root: float) -> None:
        scaler = run.scaler
        span.roots.append(root / (scaler.get_scale() if scaler is not None and scaler.is_enabled() else 1.0))
        span.clippings[:] = [replace(clipping, is_last=False) for clipping in span.clippings]

    def clip(parameters: list[torch.Tensor], max_norm: float) -> None:
        own = {id(p) for group in run.optimizer.param_groups for p in group["params"]}
        span.clippings.append(Clipping(max_norm, sum(id(p) in own for p in parameters) / max(len(own), 1)))

    for moment, indices in stretches:
        span = Span()
        with _told(backward, clip):
            play(run, moment, indices, Change("watched", before=batch, gradients=end))
    return OwnStep(tuple(spans))


@contextmanager
def _told(backward: Callable[[float], None], clip: Callable[[list[torch.Tensor], float], None]) -> Iterator[None]:
    """Call functions with the value of each backward pass, and with what `clip_grad_norm_` is given."""
    true_backward, true_clip = torch.autograd.backward, clip_grad._clip_grads_with_norm_

    def told_backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
        roots = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
        if all(root.numel() == 1 for root in roots):
            backward(sum(float(root.detach()) for root in roots))
        true_backward(tensors, *args, **kwargs)

    def told_clip(parameters: Any, max_norm: float, *args: Any, **kwargs: Any) -> None:
        parameters = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
        clip(parameters, float(max_norm))
        true_clip(parameters, max_norm, *args, **kwargs)

    with (
        patch.object(torch.autograd, "backward", told_backward),
        patch.object(clip_grad, "_clip_grads_with_norm_", told_clip),
    ):
        yield
