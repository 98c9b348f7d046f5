"""Clipping in place, for a training loop that calls its own optimizer."""

from collections.abc import Iterable, MutableMapping, Sequence
from functools import partial

import torch

from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import Clip, as_clippers, clipper_memories, decide, opened, remember
from steadystep.clipping.clip_update import ClipUpdate
from steadystep.clipping.transforms import Transform, apply_transforms
from steadystep.gradients.gradient_set import GradientSet, gather_gradients
from steadystep.kernels.dispatch import measure
from steadystep.kernels.eager import write
from steadystep.kernels.update import math_dtype
from steadystep.step.guarded_step import (
    not_refused,
)
from steadystep.tracing.ops import Number, isfinite, logical_not


@torch.no_grad()
def clip_gradients(
    parameters: torch.Tensor | Iterable[torch.Tensor],
    clip: Clip,
    memory: MutableMapping[str, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Clip the gradients of some parameters in place, with any clipper, and return their norm before.

    Gradients of which one is not finite are left as they are, and so are those of a step that the clipper refuses.

    Args:
        parameters: one or many; those without a gradient are passed over.
        clip: a maximal global norm, a clipper, or a list of these.
        memory: where a clipper keeps its statistics from call to call: an empty dict, the same one every time. Needed
            by AutoClip, ZClip, AdaGC and SkipOutlier.

    Returns:
        The global norm before clipping, a float64 tensor, on the device of the gradients.

    Raises:
        ValueError: for a clipper that needs a memory and got none, or that needs to see the update.

    >>> import torch, steadystep
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> (weight * torch.tensor([3.0, 4.0])).sum().backward()
    >>> steadystep.clip_gradients([weight], 1.0)
    tensor(5., dtype=torch.float64)
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    clippers = clippers_for_gradients("clip_gradients", clip)
    given = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    for clipper in clippers:
        if clipper.start(1) and memory is None:
            raise ValueError(f"{type(clipper).__name__} remembers earlier steps: give memory={{}}, the same every time")
    tensors = gather_gradients([{"params": given}], "clip_gradients")
    if not tensors.gradients:
        return torch.zeros((), dtype=torch.float64)
    memories = clipper_memories({} if memory is None else memory, clippers, tensors.count, tensors.home)
    before = measure(tensors)
    decision = decide(clippers, opened(memories), before, partial(measure, tensors))
    finite = isfinite(before.peaks).all()
    accept = finite & logical_not(decision.refused)
    if not_refused(accept):
        write_gradients(tensors, decision.transforms, accept)
    remember(memories, decision, accept, finite)
    return torch.as_tensor(before.total, dtype=torch.float64)


def write_gradients(tensors: GradientSet, transforms: Sequence[Transform], accept: Number = True) -> None:
    """Write to each gradient what the transforms make of it."""
    if not transforms:
        return
    for index, gradient in enumerate(tensors.gradients):
        wide = gradient.to(math_dtype(gradient))
        write(gradient, apply_transforms(transforms, wide, index), accept)


def clippers_for_gradients(who: str, clip: Clip) -> tuple[Clipper, ...]:
    clippers = as_clippers(clip)
    for clipper in clippers:
        if isinstance(clipper, ClipUpdate):
            raise ValueError(
                f"{who} sees gradients, and ClipUpdate clips updates: give it to an optimizer of steadystep"
            )
    return clippers
