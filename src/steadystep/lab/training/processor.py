"""CPU settings of the threads that run trials: one thread per trial, and denormal numbers are flushed to zero."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def apply_cpu_settings() -> None:
    """Apply the settings under which all trials run to the current thread.

    Sums depend on the number of threads that compute them, so every trial uses one thread. Denormal numbers are
    flushed to zero: weights and activations of failing runs decay into them, and a step then takes up to twenty times
    as long.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@contextmanager
def cpu_settings() -> Iterator[None]:
    """Apply the settings within the block and restore the previous ones afterwards."""
    threads, flushed = torch.get_num_threads(), flushes_denormals()
    apply_cpu_settings()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)


def flushes_denormals() -> bool:
    """Return whether the current thread flushes denormal numbers to zero."""
    return bool(torch.tensor([1e-40]).mul(0.5) == 0)
