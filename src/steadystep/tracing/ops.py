"""The operations in which rules and clippers are written.

Each works on Python floats, NumPy arrays, torch tensors and the nodes of a graph, so that one definition of a rule or a
clipper runs on the host, on a CPU's arrays, on an accelerator without reading anything back, and under capture. The
compiling backends bind the same names to their own intrinsics.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from steadystep.memory.access import owns_memory
from steadystep.tracing.graph import Node

Number = Any
"""A float, a NumPy array, a torch tensor or a node of a graph. A result has the type of its operands."""

_ON_DEVICE = (torch.Tensor, Node)


def sqrt(x: Number) -> Number:
    """Return the square root, exactly rounded on the host and on a CPU."""
    if isinstance(x, float):  # the most frequent case, and the fastest
        return math.sqrt(x)
    if isinstance(x, torch.Tensor) and x.is_cpu and x.dim() and owns_memory(x):
        # On some processors torch's own root is off by one unit in the last place.
        return torch.from_numpy(np.sqrt(x.numpy()))
    if isinstance(x, _ON_DEVICE):
        return x.sqrt()
    return np.sqrt(x) if isinstance(x, np.ndarray) else math.sqrt(x)


def where(condition: Number, yes: Number, no: Number) -> Number:
    """Return `yes` where the condition is true, and `no` elsewhere."""
    if condition is True:
        return yes
    if condition is False:
        return no
    if isinstance(condition, Node):
        return condition.where(yes, no)
    if isinstance(condition, torch.Tensor):
        if not (isinstance(yes, torch.Tensor) or isinstance(no, torch.Tensor)):
            yes = torch.full_like(condition, yes, dtype=torch.float64)  # torch would round two numbers to float32
        return torch.where(condition, yes, no)
    return np.where(condition, yes, no) if isinstance(condition, np.ndarray) else (yes if condition else no)


def minimum(x: Number, y: Number) -> Number:
    """Return the smaller number, or NaN if either is NaN."""
    if isinstance(x, Node) or isinstance(y, Node):
        return x.minimum(y) if isinstance(x, Node) else y.minimum(x)
    if isinstance(x, torch.Tensor):
        return torch.minimum(x, y) if isinstance(y, torch.Tensor) else x.clamp(max=y)
    if isinstance(y, torch.Tensor):
        return y.clamp(max=x)
    return np.minimum(x, y)


def maximum(x: Number, y: Number) -> Number:
    """Return the larger number, or NaN if either is NaN."""
    if isinstance(x, Node) or isinstance(y, Node):
        return x.maximum(y) if isinstance(x, Node) else y.maximum(x)
    if isinstance(x, torch.Tensor):
        return torch.maximum(x, y) if isinstance(y, torch.Tensor) else x.clamp(min=y)
    if isinstance(y, torch.Tensor):
        return y.clamp(min=x)
    return np.maximum(x, y)


def sign(x: Number) -> Number:
    """Return -1, 0 or 1; NaN stays NaN."""
    return x.sign() if isinstance(x, _ON_DEVICE) else np.sign(x)


def logical_not(x: Number) -> Number:
    """Return whether x is false."""
    if isinstance(x, bool):
        return not x
    return x.logical_not() if isinstance(x, _ON_DEVICE) else not x


def isnan(x: Number) -> Number:
    """Return whether x is NaN."""
    return x != x


def isfinite(x: Number) -> Number:
    """Return whether x is neither infinite nor NaN."""
    if isinstance(x, float):
        return math.isfinite(x)
    if isinstance(x, _ON_DEVICE):
        return x.isfinite()
    return np.isfinite(x) if isinstance(x, np.ndarray) else math.isfinite(x)


def every(x: Number) -> Number:
    """Return whether all entries are true: a bool on the host, a tensor on an accelerator."""
    return x.all() if isinstance(x, _ON_DEVICE) else bool(x.all())


def largest(magnitudes: Number) -> Number:
    """Return the largest entry of a vector without negative entries, or NaN if any entry is NaN.

    On the host the result is a Python number: decisions on NumPy's scalars take several times as long.
    """
    if isinstance(magnitudes, Node):
        return magnitudes.largest()
    if isinstance(magnitudes, torch.Tensor):
        return magnitudes.max()
    entries = magnitudes.tolist()
    return math.nan if math.isnan(sum(entries)) else max(entries)


def norm(x: Number) -> Number:
    """Return the Euclidean norm of a float64 vector. No square overflows or underflows; not finite if any entry is not.

    >>> f"{norm(np.array([3e200, 4e200])):.6g}"
    '5e+200'
    """
    if isinstance(x, Node):
        return x.norm()
    if isinstance(x, torch.Tensor):
        peak = x.abs().max()
        scale = torch.where((peak > 0) & torch.isfinite(peak), peak, 1.0)
        return scale * torch.linalg.vector_norm(x / scale)
    peak = largest(abs(x))
    if peak == 0.0 or not math.isfinite(peak):
        return peak
    scaled = x / peak
    # Added up in order, as the graph kernels do: the results agree bit for bit.
    return peak * math.sqrt(np.add.accumulate(scaled * scaled)[-1])


def largest_of_parts(magnitudes: Number, lengths: Sequence[int]) -> Number:
    """Return the largest entry of each part of a vector without negative entries, or NaN if any of its entries is NaN.

    The parts follow each other, and none is empty.
    """
    if isinstance(magnitudes, torch.Tensor):
        return torch.stack([part.max() for part in magnitudes.split(list(lengths))])
    return np.maximum.reduceat(magnitudes, _starts(lengths))


def norms_of_parts(x: Number, lengths: Sequence[int]) -> Number:
    """Return the Euclidean norm of each part of a float64 vector, as `norm` does; see `largest_of_parts`.

    >>> norms_of_parts(np.array([3.0, 4.0, 5.0]), (2, 1)).tolist()
    [5.0, 5.0]
    """
    if isinstance(x, torch.Tensor):
        return torch.stack([norm(part) for part in x.split(list(lengths))])
    peaks = largest_of_parts(abs(x), lengths)
    scales = np.where((peaks > 0.0) & np.isfinite(peaks), peaks, 1.0)
    scaled = x / np.repeat(scales, lengths)
    squares = np.add.reduceat(scaled * scaled, _starts(lengths))
    return np.where(np.isfinite(peaks), scales * np.sqrt(squares), peaks)


def _starts(lengths: Sequence[int]) -> np.ndarray:
    """Return where parts that follow each other start."""
    ends = np.cumsum(np.array(lengths, np.int64))
    return np.concatenate([[0], ends[:-1]])


def quantile(x: Number, q: float) -> Number:
    """Return the q-quantile (0 to 1) of the entries that are not NaN, interpolated linearly."""
    if isinstance(x, Node):
        return x.quantile(q)
    return torch.nanquantile(x, q) if isinstance(x, torch.Tensor) else float(np.quantile(x[~np.isnan(x)], q))


def put(x: Number, index: Number, value: Number) -> Number:
    """Return a copy of a vector with one entry replaced."""
    if isinstance(x, Node):
        return x.put(index, value)
    places = torch.arange(len(x), device=x.device) if isinstance(x, torch.Tensor) else np.arange(len(x))
    return where(places == index, value, x)


def gather(x: Number, positions: Sequence[int]) -> Number:
    """Return the entries of a vector at these positions."""
    if isinstance(x, Node):
        return x.gather(positions)
    return x[_positions(tuple(positions), x.device)] if isinstance(x, torch.Tensor) else x[list(positions)]


def scatter(x: Number, positions: Sequence[int], values: Number) -> Number:
    """Return a copy of a vector with the entries at these positions replaced."""
    if isinstance(x, Node):
        return x.scatter(positions, values)
    if isinstance(x, torch.Tensor):
        return x.index_copy(0, _positions(tuple(positions), x.device), values)
    copy = x.copy()
    copy[list(positions)] = values
    return copy


@lru_cache(maxsize=64)
def _positions(positions: tuple[int, ...], device: torch.device) -> torch.Tensor:
    # Cached, because copying a list to an accelerator waits for it.
    return torch.tensor(positions, dtype=torch.int64, device=device)
