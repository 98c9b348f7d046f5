"""The environment of a trial: versions, hardware and precision."""

import os
import platform
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import torch

from steadystep import __version__
from steadystep.lab.training.device import CPU, device_name
from steadystep.lab.training.record import Environment


def this_environment(dtype: str, device: torch.device = CPU) -> Environment:
    """Return the current versions, processor, memory and thread count of this process."""
    return Environment(
        steadystep=__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__,
        platform=platform.platform(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_gib=_memory_gib(),
        device=device_name(device),
        dtype=dtype,
    )


@cache
def _memory_gib() -> float:
    return round(psutil.virtual_memory().total / 2**30, 1)


@cache
def _processor() -> str:
    """Return the processor's model name, which `platform` does not report on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
