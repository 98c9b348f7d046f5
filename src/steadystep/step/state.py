"""The state of a guarded step, stored in the optimizer's first parameter group for state_dict and deepcopy to find."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import clipper_memories
from steadystep.clipping.norms import GradNorms
from steadystep.gradients.gradient_set import GradientSet
from steadystep.step import ledger as step_ledger
from steadystep.step.faults import fault_counts, faults_by_name
from steadystep.step.guarded_step import StepState
from steadystep.tracing.ops import Number

_PREFIXES = ("clip.", "ledger.")


def step_state(owner: MutableMapping[str, Any], clippers: Sequence[Clipper], gradients: GradientSet) -> StepState:
    """Return the ledger and the clippers' statistics on the device that decides, creating them if they are missing."""
    found = owner.get("ledger")
    known = step_ledger.blank(gradients.home) if found is None else step_ledger.in_this_layout(found)
    owner["ledger"] = known.to(gradients.home)
    return StepState(
        owner["ledger"],
        clipper_memories(owner, clippers, gradients.count, gradients.home),
        fault_counts(owner, gradients),
    )


def read_ledger(
    owner: Mapping[str, Any],
    param_groups: Sequence[Mapping[str, Any]],
    measured: tuple[Sequence[str], Number] | None,
    updates: Mapping[str, float],
    flags: Sequence[torch.Tensor] = (),
) -> dict[str, Any]:
    """Return the ledger as a plain dict, with the last norms of gradients and of updates by parameter name."""
    entries = owner["ledger"] if "ledger" in owner else step_ledger.blank(torch.device("cpu"))
    faults = faults_by_name(owner, param_groups)
    return step_ledger.read(entries, *(measured or ((), None)), updates, flags, faults)


def is_priming_step(param_groups: Sequence[Mapping[str, Any]], measure: Callable[[], GradNorms]) -> bool:
    """Return whether a first step only creates state because all its learning rates and gradients are 0, on all ranks.

    torch.distributed.checkpoint takes such a step before it loads a checkpoint; it must leave no trace. `measure` is
    only called if every learning rate is 0.
    """
    if any(float(group.get("lr", 1.0)) != 0 for group in param_groups):
        return False
    return bool((measure().abs_max == 0).all())


def is_stored_by_guard(name: str) -> bool:
    """Return whether an entry of a parameter group belongs to the guard: the ledger or the statistics of a clipper."""
    return name == "ledger" or name.startswith(_PREFIXES)


def ledger_owner(param_groups: Sequence[dict[str, Any]], before: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the parameter group that stores the ledger: the first one, or `before` where there is none any more.

    Args:
        param_groups: those of the optimizer.
        before: the group that stored the ledger so far. If it has been replaced, the new one gets what it stored.
    """
    owner = param_groups[0] if param_groups else before
    if owner is not before and owner is not None and before is not None and "ledger" not in owner:
        owner.update({name: before.pop(name) for name in list(before) if is_stored_by_guard(name)})
    return owner


@contextmanager
def as_printed(param_groups: Sequence[MutableMapping[str, Any]], more: Mapping[str, Any]) -> Iterator[None]:
    """Hide the stored entries of the parameter groups while they are printed, and show more options in each of them."""
    before = [dict(group) for group in param_groups]
    try:
        for group in param_groups:
            for name in list(filter(is_stored_by_guard, group)):
                del group[name]
            group.update(more)
        yield
    finally:
        for group, entries in zip(param_groups, before, strict=True):
            group.clear()
            group.update(entries)
