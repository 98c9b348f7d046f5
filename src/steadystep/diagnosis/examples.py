"""Find the example of a batch that decides an outcome."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map


def count(batch: Any) -> int:
    """Return how many examples a batch has: the most common first dimension of its tensors; 0 if it has none."""
    sizes = Counter(
        leaf.shape[0] for leaf in tree_leaves(batch) if isinstance(leaf, torch.Tensor | np.ndarray) and leaf.ndim
    )
    return sizes.most_common(1)[0][0] if sizes else 0


def subset(batch: Any, chosen: Sequence[int]) -> Any:
    """Return some examples of a batch.

    >>> subset({"x": torch.arange(4), "scale": 2.0}, [1, 3])
    {'x': tensor([1, 3]), 'scale': 2.0}
    """
    size = count(batch)

    def take(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor) and leaf.ndim and leaf.shape[0] == size:
            return leaf[torch.as_tensor(chosen, dtype=torch.long, device=leaf.device)]
        if isinstance(leaf, np.ndarray) and leaf.ndim and leaf.shape[0] == size:
            return leaf[list(chosen)]
        return leaf

    return tree_map(take, batch)


def culprits(batch: Any, is_bad: Callable[[Any], bool], most: int = 3) -> list[int]:
    """Return the few examples that make a batch bad, without which it is fine; none if they are more than `most`."""
    left, found = list(range(count(batch))), []
    while len(left) > 1 and len(found) < most:
        one = _one_of(batch, left, is_bad)
        if one is None:
            return []
        found.append(one)
        left = [example for example in left if example != one]
        if not is_bad(subset(batch, left)):
            return found
    return []


def _one_of(batch: Any, left: list[int], is_bad: Callable[[Any], bool]) -> int | None:
    """Return an example that is bad alone, looked for by halves; None if only several are bad together."""
    while len(left) > 1:
        half = left[: len(left) // 2]
        if is_bad(subset(batch, half)):
            left = half
        elif is_bad(subset(batch, left[len(left) // 2 :])):
            left = left[len(left) // 2 :]
        else:
            return None
    return left[0]


def nonfinite(batch: Any) -> tuple[int | None, str] | None:
    """Return the example with a NaN or +inf, and which of them; None if there is none. Masks hold -inf."""
    size = count(batch)
    for leaf in tree_leaves(batch):
        if not isinstance(leaf, torch.Tensor | np.ndarray):
            continue
        tensor = torch.as_tensor(leaf)
        if not tensor.dtype.is_floating_point:
            continue
        for bad, name in ((torch.isnan(tensor), "NaN"), (tensor == torch.inf, "inf")):
            if bool(bad.any()):
                rows = bad.reshape(tensor.shape[0], -1).any(1).nonzero() if tensor.ndim else bad.nonzero()
                return (int(rows[0]) if tensor.ndim and tensor.shape[0] == size else None), name
    return None
