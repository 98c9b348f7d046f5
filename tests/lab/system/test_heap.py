"""A process that keeps its memory, against the system's count of pages that it had to clear for it."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from steadystep.lab.system.heap import keep_memory

if sys.argv[1] == "keep":
    assert keep_memory()
torch.set_num_threads(1)
for _ in range(20):  # until what is free has the shape that is asked for
    torch.ones(16_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    run = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no mallopt")
def test_memory_that_was_freed_needs_no_page_again() -> None:
    page = 4096
    assert page_faults("keep") < 100 < 5 * 64_000_000 / page / 2 < page_faults("give back")
