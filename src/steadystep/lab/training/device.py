"""The devices that models are trained on: the CPU or a CUDA device."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from steadystep.lab.errors import UserError

CPU = torch.device("cpu")


def find_device(name: str | None) -> torch.device:
    """Return the device of this name: "cpu", "cuda", or "cuda:N" for one of several. None is the CPU.

    Raises:
        UserError: if there is no such device; the message is one line that lists the available devices.

    >>> find_device("cpu")
    device(type='cpu')
    """
    if name is None:
        return CPU
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device == CPU:
        return CPU
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = ", ".join(["cpu", *(["cuda"] if count else []), *(f"cuda:{number}" for number in range(count))])
    if device is None or device.type != "cuda":
        raise UserError(f"there is no device {name!r}: choose one of {known}")
    if not count:
        raise UserError(f"there is no {name!r} here: this torch ({torch.__version__}) finds no CUDA device; choose cpu")
    if (device.index or 0) >= count:
        raise UserError(f"there is no device {name!r}: choose one of {known}")
    return torch.device("cuda", device.index or 0)


def device_name(device: torch.device) -> str:
    """Return the name of the device for a record: "cpu", or the model name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextmanager
def device_scope(device: torch.device) -> Iterator[None]:
    """Restore torch's random states at the end of the block; on a CUDA device, also compute exactly and reproducibly.

    By default torch's CUDA convolutions round float32 inputs to the 11 bits of TF32, and may choose an algorithm that
    sums in an order that differs from run to run. Both are switched off in the block.
    """
    if device.type == "cpu":
        with torch.random.fork_rng(devices=()):
            yield
        return
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.cuda.device(device), torch.random.fork_rng(devices=(device.index,)), exact:
        yield


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the states of all random generators that a run on this device uses."""
    states = {"cpu": torch.get_rng_state()}
    return states if device.type == "cpu" else {**states, "cuda": torch.cuda.get_rng_state(device)}


def set_random_states(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Restore saved random states.

    A run that is resumed on another device than it was started on draws different noise (dropout) from there on.
    """
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def now(device: torch.device) -> float:
    """Return the current time in seconds, after waiting until the device has finished all submitted work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
