"""What is measured of a step: by the optimizer itself if it measures, else before and after its step."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from operator import is_
from typing import Any

import numpy as np
import torch

from steadystep.gradients.distributed import local
from steadystep.gradients.gradient_set import name_of, set_of
from steadystep.gradients.names import qualified_names
from steadystep.kernels.dispatch import measure
from steadystep.recorder.late import Late
from steadystep.recorder.ring import LR, UPDATE, WEIGHT, Ring

Finished = Callable[[BaseException | None], None]
"""Called after each step, with the error of a step that has failed, or None."""


class Measures(ABC):
    """Measures the steps of one optimizer, and writes them to a ring.

    Args:
        optimizer: the optimizer.
        ring: where the records are written.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, ring: Ring) -> None:
        self.optimizer, self.ring = optimizer, ring
        self.parameters = parameters_of(optimizer)
        self._row = np.full((3, len(self.parameters)), np.nan)
        self.gradient, self.largest, self.update = self._row
        self.at: slice | np.ndarray = slice(0, 0)  # the places of the parameters that have a gradient
        devices = [parameter.device for parameter in self.parameters if not parameter.is_cpu]
        self.home = devices[0] if devices else torch.device("cpu")
        self.late: Late | None = Late() if devices else None
        self._counts: Any = None  # of the optimizer's ledger on the CPU, if it has one
        self._counted = 0.0  # the applied steps, as last told by a ledger on a device

    @abstractmethod
    def attach(self, finished: Finished) -> None:
        """Begin to measure, and call `finished` after each step."""

    @abstractmethod
    def detach(self) -> None:
        """Stop measuring."""

    @abstractmethod
    def record(self, place: int, error: BaseException | None) -> float | None:
        """Write the record of the last step, except for its loss, without waiting for a device.

        Args:
            place: of the row in the ring.
            error: the error of a step that has failed.

        Returns:
            The squared norm of the whole update: infinity if anything is not finite, -1 if the step was not applied,
            NaN if the numbers are still on a device. None, and nothing is written, if the optimizer has other
            parameters than before.
        """

    def count_from(self, before: "Measures") -> None:
        """Go on with the counts of other measures of the same optimizer, which had other parameters."""
        self._counted, self._counts = before._counted, before._counts

    def weights(self) -> np.ndarray:
        """Return the norms of the parameters; this waits for a device."""
        norms = measure(set_of([parameter.detach() for parameter in self.parameters])).norms
        return norms.cpu().numpy() if isinstance(norms, torch.Tensor) else norms

    def arrived(self, wait: bool = False) -> Iterator[tuple[int, float]]:
        """Write the records whose numbers have arrived from a device; yield their steps and what `record` returns.

        Args:
            wait: whether the host may wait for all of them.
        """
        for step, numbers in self.late.arrived(wait) if self.late is not None else ():
            if not self.ring.has(step):
                continue
            applied, scale = self._counts_of(numbers[:3])
            self._row[:] = numbers[3:].reshape(3, -1)
            if not applied:
                self.update[self.at] = 0.0
            place = self.ring.place(step)
            rates = self.ring.numbers[place, LR:].copy()
            yield step, self._write(place, applied, scale)
            self.ring.numbers[place, LR:] = rates

    def _counts_of(self, counts: np.ndarray) -> tuple[bool, float]:
        """Return whether a step was applied and its clip factor, from the applied steps and the norms around clipping.

        The first is NaN for an optimizer that applies every step.
        """
        total, before, after = counts.tolist()
        if math.isnan(total):
            return True, 1.0
        known, self._counted = self._counted, total
        return total != known, after / before if before > 0.0 else 1.0

    def _send(self, place: int, counts: Any, norms: Any, peaks: Any, update: Any) -> float:
        """Start to copy what was measured on a device, and return NaN."""
        assert self.late is not None, "only numbers on a device are late"
        rows = torch.full(self._row.shape, math.nan, dtype=torch.float64, device=self.home)
        for row, numbers, at in ((0, norms, self.at), (1, peaks, self.at), (2, update, slice(None))):
            rows[row, at] = self._on_device(numbers)
        self.ring.numbers[place, :LR], self.ring.tensors[place] = math.nan, math.nan
        self.ring.numbers[place, LR:] = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.late.send(self.ring.end, torch.cat([self._on_device(counts), rows.flatten()]))
        return math.nan

    def _on_device(self, numbers: Any) -> torch.Tensor:
        return torch.as_tensor(numbers, dtype=torch.float64, device=self.home)

    def _write(self, place: int, applied: bool, scale: float, knows_update: bool = True) -> float:
        """Write what was measured to the ring, and return what `record` does.

        An update that is not known is written as such, and taken for one of size 0.
        """
        numbers, groups = self.ring.numbers[place], self.optimizer.param_groups
        numbers[:LR] = math.nan, applied, scale
        numbers[LR:] = [float(group["lr"]) for group in groups]
        if not knows_update:
            self.update.fill(0.0)
        measured = self._row[:, self.at]
        finite = math.isfinite(measured.sum())
        if not finite:  # NaN stands for what was not measured
            self._row[:, self.at] = np.where(np.isnan(measured), np.inf, measured)
        with np.errstate(over="ignore"):
            self.ring.tensors[place, :WEIGHT] = self._row
            self.ring.tensors[place, WEIGHT] = np.nan
            if not knows_update:
                self.ring.tensors[place, UPDATE] = np.nan
            update = self.update[self.at]
            return -1.0 if not applied else float(np.dot(update, update)) if finite else math.inf

    def _same_parameters(self) -> bool:
        """Return whether the optimizer has the parameters that it had."""
        now = parameters_of(self.optimizer)
        return len(now) == len(self.parameters) and all(map(is_, now, self.parameters))


def parameters_of(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Return the parameters of all groups, in their order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def values_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return the elements of a tensor that are stored here: not all of a sparse one, nor of one that ranks share."""
    stored = local(tensor)
    return stored.coalesce().values() if stored.is_sparse else stored


def names_of(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> tuple[str, ...]:
    """Return a name for each parameter of an optimizer: the optimizer's, the model's, or where it is and its shape."""
    in_model = {parameter: name for name, parameter in model.named_parameters()}
    groups = zip(optimizer.param_groups, qualified_names(optimizer.param_groups), strict=True)
    return tuple(
        names[place] if place < len(names) else in_model.get(parameter) or name_of(number, place, parameter, None)
        for number, (group, names) in enumerate(groups)
        for place, parameter in enumerate(group["params"])
    )
