"""How a thread computes while trials run: alone, and without the numbers that processors are slow with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def compute_alike() -> None:
    """From now on this thread computes as every thread does in which trials run.

    Sums depend on how many threads share them, so trials get one wherever they run. What is below the smallest normal
    number counts as 0: weights and activations of runs that go wrong decay into such numbers, and a step on them takes
    up to twenty times as long.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@contextmanager
def computing_alike() -> Iterator[None]:
    """The same for a while, in a process that goes on with other work."""
    threads, flushed = torch.get_num_threads(), flushes()
    compute_alike()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)


def flushes() -> bool:
    """Whether numbers below the smallest normal one count as 0 in this thread."""
    return bool(torch.tensor([1e-40]).mul(0.5) == 0)
