"""The row kernel: writes the record of a step from where the step has left its measurements, in one call."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numba import types

from steadystep.kernels.cpu.jit import compile_kernel
from steadystep.step.fields import AT

TABLE = (
    "norms", "peaks", "squares", "owners", "ledger", "numbers", "rows", "applied", "tensors", "chunks", "columns",
)  # fmt: skip
"""What the kernel is told, as integers: eight addresses and three sizes."""

# Numbers that are not finite are written as infinite, because NaN stands for what was not measured.
_SOURCE = """
def kernel(address, place, lr):
    table = carray(at(address), SIZE, INT)
    tensors, chunks, columns = table[TENSORS], table[CHUNKS], table[COLUMNS]
    norms = carray(at(table[NORMS]), tensors, WIDE)
    peaks = carray(at(table[PEAKS]), tensors, WIDE)
    squares = carray(at(table[SQUARES]), chunks, WIDE)
    owners = carray(at(table[OWNERS]), chunks, INT)
    ledger = carray(at(table[LEDGER]), LEDGER_SIZE, WIDE)
    numbers = carray(at(table[NUMBERS] + place * columns * 8), columns, WIDE)
    rows = carray(at(table[ROWS] + place * 16 * tensors), 4 * tensors, NARROW)
    applied = carray(at(table[APPLIED]), 1, WIDE)
    accepted = ledger[L_APPLIED] != applied[0]
    applied[0] = ledger[L_APPLIED]
    before = ledger[L_BEFORE]
    numbers[0] = nan
    numbers[1] = 1.0 if accepted else 0.0
    numbers[2] = ledger[L_AFTER] / before if before > 0.0 else 1.0
    numbers[3] = lr
    for i in range(tensors):
        rows[i] = norms[i] if norms[i] < inf else inf
        rows[tensors + i] = peaks[i] if peaks[i] < inf else inf
        rows[2 * tensors + i] = 0.0
        rows[3 * tensors + i] = nan
    if not accepted:
        return -1.0
    total = 0.0
    chunk = 0
    while chunk < chunks:
        owner = owners[chunk]
        moved = 0.0
        while chunk < chunks and owners[chunk] == owner:
            moved += squares[chunk]
            chunk += 1
        rows[2 * tensors + owner] = sqrt(moved) if moved < inf else inf
        total += moved
    for i in range(tensors):
        if not norms[i] < inf:
            total = inf
    return total if total < inf else inf
"""


@cache
def row_kernel() -> Callable[[int, int, float], float]:
    """Compile the kernel.

    It takes the address of an int64 table with the entries of `TABLE`, the row's place and the first learning rate, and
    returns the squared norm of the whole update: infinity if anything is not finite, -1 if the step was refused.
    """
    names = {name.upper(): place for place, name in enumerate(TABLE)}
    ledger = {"L_APPLIED": AT["applied"], "L_BEFORE": AT["norm_before"], "L_AFTER": AT["norm_after"]}
    sizes = {"SIZE": len(TABLE), "LEDGER_SIZE": len(AT), "nan": float("nan")}
    kinds = {"INT": np.int64, "WIDE": np.float64, "NARROW": np.float32}
    signature = types.float64(types.int64, types.int64, types.float64)
    return compile_kernel("record_row", _SOURCE, {**names, **ledger, **sizes, **kinds}, None, signature)
