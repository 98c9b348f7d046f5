"""The place of this process among those that torchrun started, as its environment variables give it."""

import os
from typing import NamedTuple


class Place(NamedTuple):
    """The place of one process among all of a job."""

    rank: int  # number of this process
    size: int  # number of processes
    local_rank: int  # number of this process among those of its machine


def place() -> Place | None:
    """Return the place of this process, or None if torchrun started it alone or not at all."""
    try:
        found = Place(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    except (KeyError, ValueError):
        return None
    return found if found.size > 1 else None


def follows() -> bool:
    """Return whether another process of the same job, the one of rank 0, does the talking."""
    found = place()
    return found is not None and found.rank > 0


def restarts() -> int:
    """Return how often torchrun has restarted the processes, because one of them had ended."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
