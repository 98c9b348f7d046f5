"""torch's own tables of optimizer options, `optim_db` in torch.testing, for the optimizers that both libraries have.

They are read in a process of their own: importing them takes seconds, sets environment variables, freezes the flags of
torch.backends and loads another Hypothesis profile.
"""

import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import torch

PEERS = ("SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "NAdam", "RAdam")


class Valid(NamedTuple):
    """Options that torch steps with."""

    about: str
    options: dict[str, Any]


class Invalid(NamedTuple):
    """Arguments that torch refuses, or warns of; `params` is None if the options alone are at fault."""

    about: str
    params: Any
    options: dict[str, Any]


class Table(NamedTuple):
    """What torch tests of one optimizer.

    Attributes:
        valid: the options that it steps with, those for CUDA devices included.
        invalid: the arguments that it refuses on every device.
        younger: the options that the first release of the optimizer did not have.
    """

    valid: list[Valid]
    invalid: list[Invalid]
    younger: tuple[str, ...]


def read_tables(folder: Path) -> dict[str, Table]:
    """Return the tables by the name of the optimizer, from a file in a folder; it is written if it is missing."""
    file = folder / f"torch-{torch.__version__}-{zlib.crc32(Path(__file__).read_bytes())}.pickle"
    if not file.exists():
        own = file.with_suffix(f".{os.getpid()}")
        subprocess.run([sys.executable, "-W", "ignore", __file__, own], check=True)
        own.replace(file)  # another process of the tests may do the same
    found = pickle.loads(file.read_bytes())
    return {
        name: Table([Valid(*row) for row in valid], [Invalid(*row) for row in invalid], younger)
        for name, (valid, invalid, younger) in found.items()
    }


def _write(file: Path) -> None:
    from torch.testing._internal.common_optimizers import optim_db

    tables: dict[str, Any] = {}
    for info in optim_db:
        name, errors = info.name, info.optim_error_inputs_func
        if name in PEERS and errors is not None:
            # The rows for CUDA devices are those for a CPU and more of them; none has a tensor on such a device.
            valid = [(row.desc, row.kwargs) for row in info.optim_inputs_func(device="cuda")]
            invalid = [row.optimizer_error_input for row in errors(device="cpu", dtype=None)]
            tables[name] = (valid, [(row.desc, row.params, row.kwargs) for row in invalid], info.not_og_supported_flags)
    file.write_bytes(pickle.dumps(tables))


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
