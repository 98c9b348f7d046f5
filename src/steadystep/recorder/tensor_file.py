"""Files of tensors in the safetensors format, which holds numbers only and executes nothing when it is read."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import torch

from steadystep.recorder.errors import BrokenBoxError

NEEDS = "a black box on disk needs safetensors: pip install 'steadystep[doctor]'"


def check_installed() -> None:
    """Raise an ImportError in one sentence if safetensors is not installed."""
    try:
        import safetensors.torch  # noqa: F401
    except ImportError as error:
        raise ImportError(NEEDS) from error


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> int:
    """Write tensors to a new file, flush it to disk, and return its size.

    Raises:
        OSError: if the disk is full or the folder cannot be written.
    """
    check_installed()
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(_separate(tensors), path)
    except SafetensorError as error:  # it wraps the error of the operating system
        raise OSError(str(error)) from error
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def read_tensors(path: Path, size: int) -> dict[str, torch.Tensor]:
    """Read the tensors of a file that has to have this size; what it declares cannot be larger.

    Raises:
        BrokenBoxError: if the file is missing, a link, of another size, or not whole.
    """
    check_installed()
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = read_plain(path, size, exact=True)
    try:
        return load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError) as error:
        raise BrokenBoxError(f"{path.name} is not a whole file of tensors") from error


def read_plain(path: Path, size: int, exact: bool = False) -> bytes:
    """Return the content of a file, which is not read if it is too large; a link is not followed.

    Raises:
        BrokenBoxError: if it is missing, not a plain file, larger than `size`, or not of this size if it has to be.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as error:
        raise BrokenBoxError(f"{path.name} is missing") from error
    except OSError as error:
        raise BrokenBoxError(f"{path.name} is not a plain file, or may not be read") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):  # a folder cannot be made a file object
        os.close(descriptor)
        raise BrokenBoxError(f"{path.name} is not a plain file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > size or (exact and status.st_size != size):
            raise BrokenBoxError(f"{path.name} has {status.st_size} bytes, and should have {size}")
        try:
            return file.read()
        except OSError as error:
            raise BrokenBoxError(f"{path.name} cannot be read") from error


def _separate(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors on the CPU, dense, and each in memory of its own, as the format asks for."""
    seen: set[int] = set()
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        storage = plain.untyped_storage().data_ptr()
        found[name] = plain.clone() if storage in seen else plain
        seen.add(storage)
    return found
