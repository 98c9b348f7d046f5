"""What a guarded step keeps in an optimizer's first parameter group, where state_dict, deepcopy and pickle take it."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from steadystep import ledger as ledgers
from steadystep.clipping.chain import remembered
from steadystep.clipping.clipper import Clipper
from steadystep.maths import Number
from steadystep.tensors import Tensors

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


def start(owner: MutableMapping[str, Any], clippers: Sequence[Clipper], tensors: Tensors) -> None:
    """Make the ledger and the statistics of the clippers, where they are missing."""
    ledger(owner, tensors.home)
    remembered(owner, clippers, tensors.count, tensors.home)


@contextmanager
def hidden(owner: MutableMapping[str, Any]) -> Iterator[None]:
    """A parameter group with nothing but what the user gave: for printing it."""
    kept = {name: owner.pop(name) for name in list(owner) if name == "ledger" or name.startswith(_PREFIX)}
    try:
        yield
    finally:
        owner.update(kept)
