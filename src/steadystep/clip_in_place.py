"""Clip gradients in place, for a training loop that calls its own optimizer."""

from collections.abc import Callable, Iterable, MutableMapping, Sequence
from functools import partial

import torch

from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import Clip, as_clippers, clipper_memories, decide, read_memories, update_memories
from steadystep.clipping.clip_update import ClipUpdate
from steadystep.clipping.transforms import Transform, apply_transforms
from steadystep.gradients.gradient_set import GradientSet, gather_gradients
from steadystep.kernels.dispatch import measure
from steadystep.kernels.precision import math_dtype
from steadystep.step.dynamo import untraced
from steadystep.tracing.ops import isfinite, logical_not
from steadystep.tracing.verdict import Verdict


@untraced
@torch.no_grad()
def clip_gradients(
    parameters: torch.Tensor | Iterable[torch.Tensor],
    clip: Clip,
    memory: MutableMapping[str, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Clip the gradients of some parameters in place, with any clipper, and return their norm before clipping.

    If a gradient is not finite, or the clipper refuses the step, all gradients are left as they are. A tensor that is
    given twice counts once, and so does a gradient that two parameters share.

    Args:
        parameters: one or many; those without a gradient are ignored.
        clip: a maximal global norm, a clipper, or a list of these.
        memory: where a clipper stores its statistics between calls: an empty dict, and the same one in every call.
            AutoClip, ZClip, AdaGC and SkipOutlier need it.

    Returns:
        The global norm before clipping, a float64 tensor, on the device of the gradients.

    Raises:
        ValueError: for a clipper that needs a memory and got none, or that needs to see the update.
        RuntimeError: for a gradient that is sparse or has no elements, by name.

    >>> import torch, steadystep
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> (weight * torch.tensor([3.0, 4.0])).sum().backward()
    >>> steadystep.clip_gradients([weight], 1.0)
    tensor(5., dtype=torch.float64)
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    clippers = clippers_for_gradients("clip_gradients", clip)
    params = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    for clipper in clippers:
        if clipper.start(1) and memory is None:
            raise ValueError(f"{type(clipper).__name__} remembers earlier steps: give memory={{}}, the same every time")
    gradients = gather_gradients([{"params": params}], "clip_gradients", once=True)
    if not gradients.gradients:
        return torch.zeros((), dtype=torch.float64, device="cpu")
    memories = clipper_memories({} if memory is None else memory, clippers, gradients.count, gradients.home)
    before = measure(gradients)
    decision = decide(clippers, read_memories(memories), before, partial(measure, gradients))
    finite = isfinite(before.abs_max).all()
    verdict = Verdict(finite & logical_not(decision.refused))
    if not verdict.is_refused:
        write_gradients(gradients, decision.transforms, verdict)
    update_memories(memories, decision, verdict.accept, finite)
    norm = before.global_norm
    return norm if isinstance(norm, torch.Tensor) else torch.tensor(norm, dtype=torch.float64, device="cpu")


def write_gradients(
    gradients: GradientSet,
    transforms: Sequence[Transform],
    verdict: Verdict | None = None,
    keep: Callable[[int], None] = lambda index: None,
) -> None:
    """Replace each gradient with the transformed one, if the verdict accepts the step.

    Args:
        gradients: the gradients.
        transforms: what is done to them.
        verdict: whether the step is accepted; without one, it is.
        keep: called with the index of each gradient that is about to be replaced.
    """
    if not transforms:
        return
    verdict = verdict or Verdict(True)
    for index, (gradient, parameter) in enumerate(zip(gradients.gradients, gradients.parameters, strict=True)):
        wide = gradient.to(math_dtype(gradient))
        new = apply_transforms(transforms, wide, index)
        if new is wide:  # multiplied by 1
            continue
        keep(index)
        verdict.write(gradient, new)
        given = parameter.grad
        if given is not None and (given.is_neg() or given.is_conj()):  # then the gradient that was read is a copy
            given.copy_(torch.view_as_complex(gradient) if given.is_complex() else gradient)


def clippers_for_gradients(function: str, clip: Clip) -> tuple[Clipper, ...]:
    """Return the chain of clippers; raise an error if one of them needs to see the update.

    Raises:
        ValueError: for `ClipUpdate`; `function` is the name that the message gives.
    """
    clippers = as_clippers(clip)
    for clipper in clippers:
        if isinstance(clipper, ClipUpdate):
            raise ValueError(
                f"{function} sees gradients, and ClipUpdate clips updates: give it to an optimizer of steadystep"
            )
    return clippers
