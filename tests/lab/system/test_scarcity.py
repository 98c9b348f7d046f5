"""Errors that mean that the machine ran out of something, and those that do not."""

import errno

import numpy as np
import pytest
import torch

from steadystep.lab.errors import UserError
from steadystep.lab.system.scarcity import FILES, MEMORY, THREADS, ScarcityError, scarce, scarcity_as_user_error


def raised_by(call: object) -> BaseException:
    try:
        call()  # pyright: ignore[reportCallIssue]
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("nothing was raised")


def handled() -> None:
    try:
        raise MemoryError
    except MemoryError:
        raise KeyError("while the other one was handled") from None


def chained() -> None:
    try:
        raise RuntimeError("can't start new thread")
    except RuntimeError as error:
        raise ValueError("cannot go on") from error


def during() -> None:
    try:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")
    except OSError:
        raise AttributeError("half imported")  # noqa: B904 - as an import does


CASES = {
    "Python": (MemoryError(), MEMORY),
    "NumPy": (raised_by(lambda: np.empty(2**55)), MEMORY),
    "torch": (raised_by(lambda: torch.empty(2**60)), MEMORY),
    "linker": (ImportError("libx.so: failed to map segment from shared object"), MEMORY),
    "linker, thread storage": (ImportError("libx.so: cannot allocate memory in static TLS block"), MEMORY),
    "library": (OSError("libx.so: cannot allocate memory in static TLS block"), MEMORY),
    "GPU": (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), MEMORY),
    "fork, memory": (OSError(errno.ENOMEM, "Cannot allocate memory"), MEMORY),
    "fork, processes": (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), THREADS),
    "thread": (RuntimeError("can't start new thread"), THREADS),
    "files": (OSError(errno.EMFILE, "Too many open files"), FILES),
    "files of the system": (OSError(errno.ENFILE, "Too many open files in system"), FILES),
    "a cause": (raised_by(chained), THREADS),
    "while another was handled": (raised_by(during), MEMORY),
    "handled before": (raised_by(handled), None),
    "no space": (OSError(errno.ENOSPC, "No space left on device"), None),
    "no file": (FileNotFoundError(errno.ENOENT, "No such file"), None),
    "missing module": (ModuleNotFoundError("No module named 'x'"), None),
    "shapes": (raised_by(lambda: torch.ones(2) @ torch.ones(3)), None),
    "other types": (KeyError("out of memory"), None),
}


@pytest.mark.parametrize(("error", "what"), CASES.values(), ids=CASES)
def test_scarcity_is_recognised_and_nothing_else(error: Exception, what: str | None) -> None:
    assert scarce(error) == what
    with pytest.raises(type(error) if what is None else ScarcityError) as raised, scarcity_as_user_error():
        raise error
    if what is not None:
        assert what in str(raised.value) and "\n" not in str(raised.value)


def test_a_users_error_stays_what_it_is() -> None:
    with pytest.raises(UserError, match="the disk is full"), scarcity_as_user_error():
        try:
            raise MemoryError
        except MemoryError as error:
            raise UserError("the disk is full") from error
