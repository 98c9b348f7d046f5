"""Clippers in a row: each sees what the ones before it leave, and all remember the step or none does."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import torch

from steadystep.clipping.clipper import Choice, Clipper, Memory
from steadystep.clipping.measured import Measured
from steadystep.clipping.stages import Scale, Stage
from steadystep.deferred import Formula, formula_of
from steadystep.maths import Number, logical_not, where


class Decision(NamedTuple):
    """What a chain of clippers makes of one step's gradients."""

    stages: tuple[Stage, ...]
    before: Measured
    after: Measured
    clipped: Number  # does any stage change anything
    refused: Number  # does any clipper refuse the step
    update_bound: float | None
    choices: tuple[Choice, ...]
    refusals: tuple[Number, ...]  # for each clipper whether it is the one that refuses


def decide(
    clippers: Sequence[Clipper],
    memories: Sequence[Memory],
    before: Measured,
    remeasure: Callable[[Sequence[Stage]], Measured],
) -> Decision:
    """Ask each clipper in turn. `remeasure` measures the raw gradients through stages."""
    stages: tuple[Stage, ...] = before.stages
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
        stage = choice.stage
        if stage is None:
            continue
        stages += (stage,)
        if choice.after is not None:
            after = choice.after
        elif isinstance(stage, Scale):
            after = after.scaled(stage.factors, stages)
        else:
            after = remeasure(stages)
    bound = min(bounds) if bounds else None
    return Decision(stages, before, after, clipped, refused, bound, tuple(choices), tuple(refusals))


def remembered(
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
    """Tensors that came later have no statistics yet; those of the others stay."""
    known = owner.get(key)
    if known is not None and known.dim() == 1 and len(known) < len(start):
        owner[key] = torch.cat([known, start[len(known) :].to(known.device, known.dtype)])


def opened(memories: Sequence[Mapping[str, torch.Tensor]], formula: Formula | None = None) -> list[Memory]:
    """Stored statistics as clippers read them: numbers and arrays on a CPU, else tensors, or parts of a formula."""
    return [{name: _opened(tensor, formula) for name, tensor in memory.items()} for memory in memories]


def _opened(tensor: torch.Tensor, formula: Formula | None) -> Number:
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
    formula = formula_of(when)
    if formula is not None:
        formula.store(stored, where(when, value, formula.vector(stored)), -stored.dim())
    elif not stored.is_cpu:
        new = torch.as_tensor(value, dtype=stored.dtype, device=stored.device)
        torch.where(torch.as_tensor(when, device=stored.device), new, stored, out=stored)
    elif when:
        stored.numpy()[...] = value
