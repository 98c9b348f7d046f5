"""The process group of the processes that torchrun started, and what happens when one of them stops or is lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from steadystep.lab.errors import LostRankError
from steadystep.lab.system.torchrun import place, restarts


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the other processes for the length of the block; do nothing if torchrun did not start several.

    A process group that the caller has made is used, and left as it is.
    """
    if place() is None or dist.is_initialized():
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    store, rank, size = next(rendezvous("env://"))
    # torchrun may keep its store when it starts the processes again. What is in it then are the addresses of processes
    # that have ended.
    store = PrefixStore(f"start {restarts()}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM has come in within the block.

    Signals are only noted: a process that ended at once would leave the others waiting for it. After one, the process
    is ending, and further ones are ignored.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped.is_set
        return
    before: dict[int, Any] = {
        number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stopped.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if stopped.is_set() else handler)


@contextmanager
def lost_rank_errors() -> Iterator[None]:
    """Convert the errors of communication with a process that has ended into a LostRankError."""
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        found = place()
        raise LostRankError(
            f"rank {found.rank if found else 0} lost another process of this trial, which has ended: the same command "
            "resumes from the last checkpoint"
        ) from error
