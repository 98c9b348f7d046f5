"""Memory that a process has had once stays with it, instead of going back to the system after every step."""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt, from its malloc.h."""


def keep_memory() -> bool:
    """Let the heap keep what is freed; true where the C library is one that can (glibc).

    A step allocates its activations anew. By default glibc maps each large one and gives it back, and the system
    clears every page again: a quarter of a step's time for a small convolutional network on one core.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    never = ctypes.c_int(2**31 - 1)
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, never))
