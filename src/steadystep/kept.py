"""What a guarded step keeps in an optimizer's first parameter group, where state_dict, deepcopy and pickle take it."""

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

from steadystep import ledger as ledgers
from steadystep.clipping.chain import remembered
from steadystep.clipping.clipper import Clipper
from steadystep.tensors import Tensors

_PREFIX = "clip."


def start(owner: MutableMapping[str, Any], clippers: Sequence[Clipper], tensors: Tensors) -> None:
    """Make the ledger and the statistics of the clippers, where they are missing."""
    if "ledger" not in owner:
        owner["ledger"] = ledgers.blank(tensors.home)
    remembered(owner, clippers, tensors.count, tensors.home)


@contextmanager
def hidden(owner: MutableMapping[str, Any]) -> Iterator[None]:
    """A parameter group with nothing but what the user gave: for printing it."""
    kept = {name: owner.pop(name) for name in list(owner) if name == "ledger" or name.startswith(_PREFIX)}
    try:
        yield
    finally:
        owner.update(kept)
