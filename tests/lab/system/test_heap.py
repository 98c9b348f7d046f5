"""Freed memory is kept by the process, as the system's count of page faults shows."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from steadystep.lab.system.heap import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.set_num_threads(1)
for _ in range(20):  # until the heap has free blocks of the required size
    torch.ones(16_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    run = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_reusing_freed_memory_causes_no_page_faults() -> None:
    page = 4096
    assert page_faults("keep") < 100 < 5 * 64_000_000 / page / 2 < page_faults("give back")
