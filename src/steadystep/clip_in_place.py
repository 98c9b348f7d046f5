"""Clip gradients in place, for a training loop that calls its own optimizer."""

from collections.abc import Callable, Iterable, MutableMapping, Sequence
from functools import partial
from typing import Any, Literal, get_args

import torch

from steadystep.arguments import checked, described
from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import Clip, as_clippers, clipper_memories, decide, read_memories, update_memories
from steadystep.clipping.clip_update import ClipUpdate
from steadystep.clipping.transforms import Transform, apply_transforms
from steadystep.gradients.distributed import local
from steadystep.gradients.gradient_set import GradientSet, gather_gradients
from steadystep.kernels.dispatch import measure
from steadystep.kernels.precision import math_dtype
from steadystep.step.dynamo import untraced
from steadystep.step.errors import NonFiniteGradientError
from steadystep.step.refusal import nonfinite_names, norms_by_name
from steadystep.step.trouble import first_of
from steadystep.tracing.ops import Number, every, isfinite, logical_not
from steadystep.tracing.verdict import Verdict

_Nonfinite = Literal["raise", "zero", "propagate"]


@checked
@untraced
@torch.no_grad()
def clip_gradients(
    parameters: torch.nn.Module | torch.Tensor | Iterable[torch.Tensor] | Iterable[tuple[str, torch.Tensor]],
    clip: Clip,
    memory: MutableMapping[str, torch.Tensor] | None = None,
    nonfinite: _Nonfinite = "propagate",
) -> torch.Tensor:
    """Clip the gradients of some parameters in place, with any clipper, and return their norm before clipping.

    If the clipper refuses the step, all gradients are left as they are. A tensor that is given twice counts once, and
    so does a gradient that two parameters share.

    Args:
        parameters: a module, or one or many parameters, with their names or without. Those without a gradient are
            ignored.
        clip: a maximal global norm, a clipper, or a list of these.
        memory: where a clipper stores its statistics between calls: an empty dict, and the same one in every call.
            AutoClip, ZClip, AdaGC and SkipOutlier need it.
        nonfinite: what to do if a gradient is not finite: ``"raise"`` an error that names the tensors, which waits for
            the device; set all gradients to ``"zero"``; or ``"propagate"``: leave all of them as they are, for the
            optimizer to see. Default ``"propagate"``.

    Returns:
        The global norm before clipping, a float64 tensor, on the device of the gradients.

    Raises:
        NonFiniteGradientError: under ``nonfinite="raise"``; the gradients are left as they are.
        TypeError: for anything but a module or parameters.
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
    if nonfinite not in get_args(_Nonfinite):
        raise ValueError(f"nonfinite is {nonfinite!r}: clip_gradients accepts {', '.join(get_args(_Nonfinite))}")
    group = _as_group(parameters)
    for clipper in clippers:
        if clipper.start(1) and memory is None:
            raise ValueError(f"{type(clipper).__name__} remembers earlier steps: give memory={{}}, the same every time")
    gradients = gather_gradients([group], "clip_gradients", once=True)
    if not gradients.gradients:
        return torch.zeros((), dtype=torch.float64, device="cpu")
    memories = clipper_memories({} if memory is None else memory, clippers, gradients.count, gradients.home)
    before = measure(gradients)
    decision = decide(clippers, read_memories(memories), before, partial(measure, gradients))
    finite = every(isfinite(before.abs_max))
    if nonfinite == "raise" and not finite:
        names = nonfinite_names(before)
        problem = f"non-finite gradient in {first_of(names)}; the gradients are unchanged"
        norms = norms_by_name(gradients.names, before.norms)
        raise NonFiniteGradientError(problem, tensors=names, reason="nonfinite", norms=norms)
    verdict = Verdict(finite & logical_not(decision.refused))
    if not verdict.is_refused:
        write_gradients(gradients, decision.transforms, verdict)
    update_memories(memories, decision, verdict.accept, finite)
    if nonfinite == "zero":
        _zero_unless(finite, gradients)
    norm = before.global_norm
    return norm if isinstance(norm, torch.Tensor) else torch.tensor(norm, dtype=torch.float64, device="cpu")


def _as_group(parameters: Any) -> dict[str, Any]:
    """Return parameters as a parameter group, with their names if they have any.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(parameters, torch.Tensor):
        return {"params": [parameters]}
    given = parameters.named_parameters() if isinstance(parameters, torch.nn.Module) else parameters
    entries: list[Any] = list(given) if isinstance(given, Iterable) else [given]
    if entries and all(isinstance(entry, tuple) and len(entry) == 2 for entry in entries):
        return {"params": [tensor for _, tensor in entries], "param_names": [name for name, _ in entries]}
    if not all(isinstance(entry, torch.Tensor) for entry in entries):
        raise TypeError(
            f"clip_gradients takes a module or parameters, and got {described(parameters)}: "
            "clip_gradients(model.parameters(), 1.0)"
        )
    return {"params": entries}


def _zero_unless(finite: Number, gradients: GradientSet) -> None:
    """Set all gradients to 0 unless they are finite; a verdict on an accelerator is not read."""
    if finite is True:
        return
    bad = finite.logical_not() if isinstance(finite, torch.Tensor) else torch.tensor(True, device="cpu")
    for parameter in gradients.parameters:
        if parameter.grad is not None:
            gradient = local(parameter.grad)
            gradient.masked_fill_(bad.to(gradient.device), 0)


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
