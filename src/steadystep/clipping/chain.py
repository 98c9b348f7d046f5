"""Clippers in a row: each sees what the ones before it leave, and all remember the step or none does."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import torch

from steadystep.clipping.base import Choice, Clipper, Memory
from steadystep.clipping.clip_norm import ClipNorm
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Scale, Transform
from steadystep.tracing.graph import Graph, graph_of
from steadystep.tracing.ops import Number, logical_not, where


class Decision(NamedTuple):
    """What a chain of clippers makes of one step's gradients."""

    transforms: tuple[Transform, ...]
    before: GradNorms
    after: GradNorms
    clipped: Number  # does any transform change anything
    refused: Number  # does any clipper refuse the step
    update_bound: float | None
    choices: tuple[Choice, ...]
    refusals: tuple[Number, ...]  # for each clipper whether it is the one that refuses


def decide(
    clippers: Sequence[Clipper],
    memories: Sequence[Memory],
    before: GradNorms,
    remeasure: Callable[[Sequence[Transform]], GradNorms],
) -> Decision:
    """Ask each clipper in turn. `remeasure` measures the raw gradients through transforms."""
    transforms: tuple[Transform, ...] = before.transforms
    after, clipped, refused = before, False, False
    bounds: list[float] = []
    choices: list[Choice] = []
    refusals: list[Number] = []
    for clipper, memory in zip(clippers, memories, strict=True):
        choice = clipper.decide(after, memory)
        choices.append(choice)
        refusals.append(choice.refuse & logical_not(refused))
        refused = refused | choice.refuse
        clipped = clipped | choice.clipped
        if choice.update_bound is not None:
            bounds.append(choice.update_bound)
        transform = choice.transform
        if transform is None:
            continue
        transforms += (transform,)
        if choice.after is not None:
            after = choice.after
        elif isinstance(transform, Scale):
            after = after.scaled(transform.factors, transforms)
        else:
            after = remeasure(transforms)
    bound = min(bounds) if bounds else None
    return Decision(transforms, before, after, clipped, refused, bound, tuple(choices), tuple(refusals))


def clipper_memories(
    owner: MutableMapping[str, Any], clippers: Sequence[Clipper], tensors: int, device: torch.device
) -> list[dict[str, torch.Tensor]]:
    """The statistics of each clipper, kept in `owner` under ``clip.NUMBER.CLASS.NAME``.

    Where any is missing, or has another shape than the clipper's, all of that clipper's start anew: those of other
    options, or of another clipper in its place, would mean something else by the same names.
    """
    memories = []
    for number, clipper in enumerate(clippers):
        first = clipper.start(tensors)
        if not first:
            memories.append({})
            continue
        place = f"clip.{number}."
        mine = f"{place}{type(clipper).__name__}."
        starts = {mine + name: torch.from_numpy(start) for name, start in first.items()}
        for name in clipper.per_tensor:
            _grow(owner, mine + name, starts[mine + name])
        if any(key not in owner or owner[key].shape != start.shape for key, start in starts.items()):
            for key in [key for key in owner if key.startswith(place)]:
                del owner[key]
            owner.update(starts)
        for key in starts:
            owner[key] = owner[key].to(device, torch.float64)
        memories.append({key.removeprefix(mine): owner[key] for key in starts})
    return memories


def _grow(owner: MutableMapping[str, Any], key: str, start: torch.Tensor) -> None:
    """GradientSet that came later have no statistics yet; those of the others stay."""
    known = owner.get(key)
    if known is not None and known.dim() == 1 and len(known) < len(start):
        owner[key] = torch.cat([known, start[len(known) :].to(known.device, known.dtype)])


def opened(memories: Sequence[Mapping[str, torch.Tensor]], formula: Graph | None = None) -> list[Memory]:
    """Stored statistics as clippers read them: numbers and arrays on a CPU, else tensors, or parts of a formula."""
    return [{name: _opened(tensor, formula) for name, tensor in memory.items()} for memory in memories]


def _opened(tensor: torch.Tensor, formula: Graph | None) -> Number:
    if formula is not None:
        return formula.vector(tensor)
    if not tensor.is_cpu:
        return tensor
    return tensor.numpy() if tensor.dim() else tensor.item()


def remember(
    memories: Sequence[Mapping[str, torch.Tensor]], decision: Decision, applied: Number, sound: Number
) -> None:
    """Keep the statistics of an applied step; of a refused but sound one only what the refusing clipper counts."""
    for memory, choice, refuses in zip(memories, decision.choices, decision.refusals, strict=True):
        if not memory:
            continue
        for kept, when in ((choice.memory, applied), (choice.memory_if_refused, refuses & sound)):
            for name, value in kept.items():
                _keep(memory[name], value, when)


def _keep(stored: torch.Tensor, value: Number, when: Number) -> None:
    formula = graph_of(when)
    if formula is not None:
        formula.store(stored, where(when, value, formula.vector(stored)), -stored.dim())
    elif not stored.is_cpu:
        new = torch.as_tensor(value, dtype=stored.dtype, device=stored.device)
        torch.where(torch.as_tensor(when, device=stored.device), new, stored, out=stored)
    elif when:
        stored.numpy()[...] = value


Clip = float | Clipper | Sequence[float | Clipper] | None
"""What `clip=` accepts: nothing, a global norm, a clipper, or a chain of them."""


def as_clippers(clip: Clip) -> tuple[Clipper, ...]:
    """The chain that `clip=` means. A bare number c means ``ClipNorm(c)``.

    Raises:
        TypeError: for anything else, with what was given and what is accepted.

    >>> as_clippers(1.0)
    (ClipNorm(max_norm=1.0, scope='global'),)
    """
    if clip is None:
        return ()
    if isinstance(clip, Clipper):
        return (clip,)
    if isinstance(clip, Real) and not isinstance(clip, bool):
        return (ClipNorm(float(clip)),)
    if isinstance(clip, Sequence) and not isinstance(clip, str):
        return tuple(clipper for one in clip for clipper in as_clippers(one))
    raise TypeError(
        f"clip is {clip!r}: give None, a maximal global norm such as 1.0, a clipper such as "
        "steadystep.ClipValue(0.5), or a list of these, applied in order"
    )
