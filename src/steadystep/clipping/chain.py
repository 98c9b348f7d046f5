"""A chain of clippers: each sees the output of the previous one, and all statistics advance together or not at all."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import torch

from steadystep.clipping.base import Choice, Clipper, Memory
from steadystep.clipping.clip_norm import ClipNorm
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Scale, Transform
from steadystep.tracing.graph import Graph
from steadystep.tracing.ops import Number, logical_not
from steadystep.tracing.verdict import load, store

Clip = float | Clipper | Sequence[float | Clipper] | None
"""What `clip=` accepts: nothing, a global norm, a clipper, or a chain of them."""


def as_clippers(clip: Clip) -> tuple[Clipper, ...]:
    """Return the chain of clippers that `clip=` stands for. A number c stands for ``ClipNorm(c)``.

    Raises:
        TypeError: for anything else, naming the value and what is accepted.

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
    if isinstance(clip, type) and issubclass(clip, Clipper):
        raise TypeError(f"clip is the class {clip.__name__}: give a clipper that has been made, {clip.__name__}(...)")
    raise TypeError(
        f"clip is {clip!r}: give None, a maximal global norm such as 1.0, a clipper such as "
        "steadystep.ClipValue(0.5), or a list of these, applied in order"
    )


def shown_clip(clippers: Sequence[Clipper]) -> str:
    """Return a chain of clippers as `clip=` takes it.

    >>> shown_clip(as_clippers(1.0)), shown_clip(())
    ("ClipNorm(max_norm=1.0, scope='global')", 'None')
    """
    if not clippers:
        return "None"
    return repr(clippers[0]) if len(clippers) == 1 else repr(list(clippers))


class Decision(NamedTuple):
    """The decision of a chain of clippers about the gradients of one step."""

    transforms: tuple[Transform, ...]
    before: GradNorms
    after: GradNorms
    clipped: Number  # whether any transform changes anything
    refused: Number  # whether any clipper refuses the step
    update_bound: float | None
    choices: tuple[Choice, ...]
    refusals: tuple[Number, ...]  # for each clipper whether it is the first one that refuses


def decide(
    clippers: Sequence[Clipper],
    memories: Sequence[Memory],
    before: GradNorms,
    measure: Callable[[Sequence[Transform]], GradNorms],
) -> Decision:
    """Ask each clipper for its decision, in order. `measure` measures the raw gradients after given transforms."""
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
            after = measure(transforms)
    bound = min(bounds) if bounds else None
    return Decision(transforms, before, after, clipped, refused, bound, tuple(choices), tuple(refusals))


def clipper_memories(
    owner: MutableMapping[str, Any], clippers: Sequence[Clipper], tensors: int, device: torch.device
) -> list[dict[str, torch.Tensor]]:
    """Return the statistics of each clipper, which are stored in `owner` under ``clip.NUMBER.CLASS.NAME``.

    Where one is missing or has another shape, all statistics of that clipper start anew: under the same names, those of
    another clipper or of other options would mean something else.
    """
    memories = []
    for number, clipper in enumerate(clippers):
        first = clipper.start(tensors)
        if not first:
            memories.append({})
            continue
        place = f"clip.{number}."
        prefix = f"{place}{type(clipper).__name__}."
        starts = {prefix + name: torch.from_numpy(start) for name, start in first.items()}
        for name in clipper.per_tensor:
            _extend(owner, prefix + name, starts[prefix + name])
        if any(key not in owner or owner[key].shape != start.shape for key, start in starts.items()):
            for key in [key for key in owner if key.startswith(place)]:
                del owner[key]
            owner.update(starts)
        for key in starts:
            owner[key] = owner[key].to(device, torch.float64)
        memories.append({key.removeprefix(prefix): owner[key] for key in starts})
    return memories


def _extend(owner: MutableMapping[str, Any], key: str, start: torch.Tensor) -> None:
    """Append the initial values for tensors that were added to the optimizer later."""
    known = owner.get(key)
    if known is not None and known.dim() == 1 and len(known) < len(start):
        owner[key] = torch.cat([known, start[len(known) :].to(known.device, known.dtype)])


def read_memories(memories: Sequence[Mapping[str, torch.Tensor]], graph: Graph | None = None) -> list[Memory]:
    """Return stored statistics in the form that clippers accept."""
    return [{name: load(tensor, graph) for name, tensor in memory.items()} for memory in memories]


def update_memories(
    memories: Sequence[Mapping[str, torch.Tensor]],
    decision: Decision,
    applied: Number,
    sound: Number,
    graph: Graph | None = None,
) -> None:
    """Store the new statistics of an applied step, or `memory_if_refused` of the clipper that refused a sound step."""
    for memory, choice, refuses in zip(memories, decision.choices, decision.refusals, strict=True):
        if not memory:
            continue
        for statistics, when in ((choice.memory, applied), (choice.memory_if_refused, refuses & sound)):
            for name, value in statistics.items():
                store(memory[name], value, when, graph)
