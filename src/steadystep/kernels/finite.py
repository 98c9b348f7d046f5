"""Find the tensors that hold a value that is not finite, reading each of them once."""

from collections.abc import Iterable, Sequence
from operator import is_
from typing import Any

import torch

from steadystep.gradients.distributed import is_sharded
from steadystep.gradients.gradient_set import set_of
from steadystep.kernels.dispatch import are_finite
from steadystep.memory.access import why_untouchable
from steadystep.memory.fingerprint import Fingerprint
from steadystep.tracing.ops import every


class FiniteCheck:
    """Checks tensors of any kinds; what it prepares for some tensors is used again for the same ones."""

    def __init__(self) -> None:
        self._tensors: list[torch.Tensor] = []
        self._batches: list[_Batch] = []
        self._others: list[int] = []

    def nonfinite(self, tensors: Sequence[torch.Tensor]) -> list[int]:
        """Return the indices of the tensors that are not finite; where they are sharded, on any rank."""
        same = len(tensors) == len(self._tensors) and all(map(is_, tensors, self._tensors))
        if not same or not all(batch.holds() for batch in self._batches):
            self._prepare(list(tensors))
        found = [index for batch in self._batches for index in batch.nonfinite()]
        return [*found, *(index for index in self._others if not _is_finite(tensors[index]))]

    def _prepare(self, tensors: list[torch.Tensor]) -> None:
        kinds: dict[Any, list[int]] = {}
        self._tensors, self._others = tensors, []
        for index, tensor in enumerate(tensors):
            if tensor.numel() == 0:
                continue
            if (is_sharded(tensor) or not why_untouchable(tensor)) and tensor.element_size() > 1:
                kinds.setdefault((tensor.device, tensor.dtype, type(tensor)), []).append(index)
            else:
                self._others.append(index)
        self._batches = [_Batch(indices, [tensors[index] for index in indices]) for indices in kinds.values()]


class _Batch:
    """Tensors of one device and dtype, which one pass measures."""

    def __init__(self, indices: list[int], tensors: list[torch.Tensor]) -> None:
        self._indices, self._set = indices, set_of(tensors)
        # What had to be converted, like a negated view, is a copy of what the tensors were.
        as_given = self._set.renewable and all(map(is_, self._set.gradients, tensors))
        self._tensors, self._fingerprint = tensors, Fingerprint(tensors) if as_given else None

    def holds(self) -> bool:
        """Return whether the tensors are still as they were, at any addresses."""
        return self._fingerprint is not None and self._fingerprint.matches(self._tensors)

    def nonfinite(self) -> Iterable[int]:
        """Return the indices of those that are not finite."""
        self._set.locate()
        finite = are_finite(self._set)
        if bool(every(finite)):
            return ()
        return [index for index, fine in zip(self._indices, finite.tolist(), strict=True) if not fine]


def _is_finite(tensor: torch.Tensor) -> bool:
    """Return whether a tensor that no kernel can read is finite; True for a type that cannot say."""
    try:
        wide = tensor.float() if tensor.element_size() == 1 else tensor
        return bool(torch.isfinite(wide).all())
    except (NotImplementedError, RuntimeError, TypeError):
        return True
