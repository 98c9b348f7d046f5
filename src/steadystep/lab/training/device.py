"""Where models are trained: on the CPU, or on a CUDA device."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from steadystep.lab.errors import UserError

CPU = torch.device("cpu")


def find_device(name: str | None) -> torch.device:
    """The device of this name: cpu, cuda, or cuda:N for one of several; the CPU where none is named.

    Raises:
        UserError: in one line: what was asked for, and what there is.

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
    there_are = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = ", ".join(["cpu", *(["cuda"] if there_are else []), *(f"cuda:{number}" for number in range(there_are))])
    if device is None or device.type != "cuda":
        raise UserError(f"there is no device {name!r}: choose one of {known}")
    if not there_are:
        raise UserError(f"there is no {name!r} here: this torch ({torch.__version__}) finds no CUDA device; choose cpu")
    if (device.index or 0) >= there_are:
        raise UserError(f"there is no device {name!r}: choose one of {known}")
    return torch.device("cuda", device.index or 0)


def name_of(device: torch.device) -> str:
    """As a record has it: cpu, or the name of the graphics card."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextmanager
def computing_on(device: torch.device) -> Iterator[None]:
    """Random states are afterwards as they were; on a CUDA device float32 is float32, and the same twice.

    torch's convolutions there round float32 to TF32's 11 bits unless they are told not to, and choose among algorithms
    of which some add up in an order that changes from run to run.
    """
    if device.type == "cpu":
        with torch.random.fork_rng(devices=()):
            yield
        return
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.cuda.device(device), torch.random.fork_rng(devices=(device.index,)), exact:
        yield


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """Of all generators that a run on this device draws from."""
    states = {"cpu": torch.get_rng_state()}
    return states if device.type == "cpu" else {**states, "cuda": torch.cuda.get_rng_state(device)}


def set_random_states(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """As they were saved. What goes on elsewhere than it began has other noise from there on, where it has any."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def now(device: torch.device) -> float:
    """Seconds on a clock, once everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
