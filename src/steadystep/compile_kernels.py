"""Compile the CPU kernels of all optimizers: `python -m steadystep.compile_kernels`.

The first step of an optimizer on a new machine compiles its kernels, which takes some seconds. If the owner of an
installation has run this program, nobody has to wait: all users of the machine read the kernels in its folder.
"""

import logging
import os
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch

from steadystep.optimizers import OPTIMIZERS

DTYPES = (torch.float32, torch.bfloat16)

STEPS = 3
"""Steps after which the scalars of a step are compiled too."""


def compile_kernels() -> None:
    """Take clipped steps with each optimizer, with and without weight decay, and say how long each takes."""
    logging.getLogger("steadystep.kernels").setLevel(logging.ERROR)  # there is a line for each optimizer
    for name, kind in OPTIMIZERS.items():
        started = time.monotonic()
        for dtype, weight_decay in product(DTYPES, (0.0, 0.01)):
            parameter = torch.ones(2048, dtype=dtype, requires_grad=True)
            parameter.grad = torch.ones_like(parameter)
            options: dict[str, Any] = {"lr": 1e-3, "clip": 1.0, "weight_decay": weight_decay}
            if name == "SGD":
                options["momentum"] = 0.9
            optimizer = kind([parameter], **options)
            for _ in range(STEPS):
                optimizer.step()
        print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)


def main() -> None:
    """Compile the kernels and say who can use them."""
    from steadystep.kernels.cpu import jit

    compile_kernels()
    folder = Path(jit.__file__).parent / "__pycache__"
    if os.environ.get("NUMBA_CACHE_DIR"):
        print(f"The kernels are in {os.environ['NUMBA_CACHE_DIR']} (NUMBA_CACHE_DIR).")
    elif os.access(folder, os.W_OK):
        print(f"The kernels are in {folder}, for all users of this installation.")
    else:
        print(f"The kernels are in your own cache: you cannot write to {folder}, which all users read.")


if __name__ == "__main__":
    main()
