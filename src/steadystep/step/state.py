"""What a guarded step keeps in an optimizer's first parameter group, where state_dict, deepcopy and pickle take it."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from steadystep.clipping.base import Clipper
from steadystep.clipping.chain import clipper_memories
from steadystep.clipping.norms import GradNorms
from steadystep.gradients.gradient_set import GradientSet
from steadystep.step import ledger as ledgers
from steadystep.tracing.ops import Number

_PREFIX = "clip."


def ledger(owner: MutableMapping[str, Any], device: torch.device) -> torch.Tensor:
    """The ledger, on this device; a blank one where there is none."""
    found = owner.get("ledger")
    owner["ledger"] = ledgers.blank(device) if found is None else found.to(device)
    return owner["ledger"]


def read_ledger(owner: Mapping[str, Any], measured: tuple[Sequence[str], Number] | None) -> dict[str, Any]:
    """The ledger as a plain dict, with the norms that were `measured` last, by name."""
    entries = owner["ledger"] if "ledger" in owner else ledgers.blank(torch.device("cpu"))
    return ledgers.read(entries, *(measured or ((), None)))


def start(owner: MutableMapping[str, Any], clippers: Sequence[Clipper], tensors: GradientSet) -> None:
    """Make the ledger and the statistics of the clippers, where they are missing."""
    ledger(owner, tensors.home)
    clipper_memories(owner, clippers, tensors.count, tensors.home)


@contextmanager
def hidden(owner: MutableMapping[str, Any]) -> Iterator[None]:
    """A parameter group with nothing but what the user gave: for printing it."""
    kept = {name: owner.pop(name) for name in list(owner) if name == "ledger" or name.startswith(_PREFIX)}
    try:
        yield
    finally:
        owner.update(kept)


def is_priming_step(param_groups: Sequence[Mapping[str, Any]], measure: Callable[[], GradNorms]) -> bool:
    """Whether the first step of an optimizer only makes state: with learning rate 0 and zero gradients, on all ranks.

    `measure` is called only if every learning rate is 0.
    """
    if any(float(group.get("lr", 1.0)) != 0 for group in param_groups):
        return False
    return bool((measure().peaks == 0).all())
