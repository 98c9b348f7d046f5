"""The measurements that an optimizer of this package has made in its own step."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch

from steadystep.gradients.gradient_set import gather_gradients
from steadystep.kernels.cpu.update_pass import CPUUpdatePass
from steadystep.kernels.dispatch import measure
from steadystep.recorder import after_step
from steadystep.recorder.measures import Finished, Measures
from steadystep.recorder.ring import LR, Ring
from steadystep.recorder.row_kernel import TABLE
from steadystep.step.errors import StepError
from steadystep.step.fields import AT

_APPLIED, _BEFORE, _AFTER = (AT[name] for name in ("applied", "norm_before", "norm_after"))


COUNTS = [_APPLIED, _BEFORE, _AFTER]
"""The entries of the ledger that a record needs."""


class LedgerCounts:
    """Reads from a ledger whether the last step was applied, and the factor by which its gradients were clipped."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._ledger: torch.Tensor | None = None
        self._entries: Sequence[float] = ()
        ledger = self._stored()
        self.applied = np.array([0.0 if ledger is None else float(ledger[_APPLIED])])  # until the last step

    def _stored(self) -> torch.Tensor | None:
        groups = self._optimizer.param_groups
        return groups[0].get("ledger") if groups else None

    def read(self) -> tuple[bool, float]:
        """Return whether the last step was applied, and its clip factor; the ledger is on the CPU."""
        ledger = self._stored()
        if ledger is None:
            return False, 1.0
        if ledger is not self._ledger:
            self._ledger, self._entries = ledger, cast(Sequence[float], ledger.numpy())
        entries = self._entries
        applied, self.applied[0] = self.applied[0], entries[_APPLIED]
        before = float(entries[_BEFORE])
        return bool(self.applied[0] != applied), float(entries[_AFTER]) / before if before > 0.0 else 1.0


class OwnMeasures(Measures):
    """Copies what a step of this package has measured; see `PlannedStep`."""

    optimizer: Any

    def __init__(self, optimizer: torch.optim.Optimizer, ring: Ring) -> None:
        super().__init__(optimizer, ring)
        self._counts = LedgerCounts(optimizer)
        self._plan: Any = None
        self._passes: list[tuple[slice | np.ndarray, Any]] = []
        self._one: Any = None  # the only pass, for the kernel
        self._kernel: Callable[[int, int, float], float] | None = None
        self._sources: tuple[Any, ...] = ()  # the objects whose memory the kernel reads
        self._table = np.zeros(len(TABLE), np.int64)
        self._address = self._table.ctypes.data
        self._groups = len(optimizer.param_groups)
        self._finished: Finished | None = None

    def attach(self, finished: Finished) -> None:
        """Begin to measure, and call `finished` after each step."""
        self._finished = finished
        after_step.attach(self.optimizer, finished)

    def detach(self) -> None:
        """Stop measuring."""
        after_step.detach(self.optimizer, self._finished)

    def record(self, place: int, error: BaseException | None) -> float | None:
        """Write the record of the last step; see `Measures.record`."""
        optimizer = self.optimizer
        if optimizer._plan is not self._plan and not self._follow(optimizer._plan):
            return None
        kernel, measured = self._kernel, optimizer._measured
        if kernel is None or error is not None or measured is None:
            return self._record(place, error)
        group, (norms, peaks, last, ledger) = optimizer.param_groups[0], self._sources
        if not (
            measured[1] is norms
            and optimizer._peaks is peaks
            and self._one._last is last
            and group.get("ledger") is ledger
        ):
            return self._record(place, error)
        if self._groups > 1:
            self.ring.numbers[place, LR:] = [group["lr"] for group in optimizer.param_groups]
        return kernel(self._address, place, group["lr"])

    def _record(self, place: int, error: BaseException | None) -> float:
        """Do what the kernel does, for every kind of step."""
        optimizer, at = self.optimizer, self.at
        if optimizer._plan is None:  # no parameter has a gradient
            self._row.fill(np.nan)
            return self._write(place, False, 1.0)
        measured = optimizer._measured
        if self.late is not None:
            return self._record_late(place, measured)
        applied, scale = self._counts.read()
        if isinstance(error, StepError) and error.norms:
            self.gradient[at], self.largest[at] = list(error.norms.values()), np.nan
        elif measured is None:  # nothing clips and nothing refuses
            norms, scale = measure(gather_gradients(optimizer.param_groups, type(optimizer).__name__)), 1.0
            self.gradient[at], self.largest[at] = norms.norms, norms.abs_max
        else:
            self.gradient[at], self.largest[at] = measured[1], optimizer._peaks
        for places, one in self._passes:
            self.update[places] = one.update_norms() if applied else 0.0
        size = self._write(place, applied, scale)
        if measured is not None and error is None:
            self._prepare_kernel(measured[1], optimizer._peaks)
        return size

    def _record_late(self, place: int, measured: Any) -> float:
        """Send what the step has measured on its device."""
        optimizer = self.optimizer
        if measured is None:
            found = measure(gather_gradients(optimizer.param_groups, type(optimizer).__name__))
            norms, peaks = found.norms, found.abs_max
        else:
            norms, peaks = measured[1], optimizer._peaks
        update = torch.full((len(self.parameters),), np.nan, dtype=torch.float64, device=self.home)
        for places, one in self._passes:
            update[places] = self._on_device(one.update_norms())
        ledger = optimizer.param_groups[0]["ledger"]
        return self._send(place, ledger[COUNTS], norms, peaks, update)

    def _follow(self, plan: Any) -> bool:
        """Prepare for the parameters of a new plan; return False if they are not those of the ring."""
        if not self._same_parameters():
            return False
        self._plan, self._kernel, self._passes = plan, None, []
        self._row.fill(np.nan)
        if plan is not None:
            positions = plan.gradients.positions
            self.at = as_slice(positions)
            self._passes = [(as_slice([positions[update.index] for update in one.updates]), one) for one in plan.passes]
        return True

    def _prepare_kernel(self, norms: Any, peaks: Any) -> None:
        """Tell the kernel where a replayed step leaves its measurements, if this is one, on the CPU, of all tensors."""
        if len(self._passes) != 1 or not isinstance(norms, torch.Tensor):
            return
        at = self._passes[0][0]
        if not isinstance(at, slice) or at != slice(0, len(self.parameters)):
            return
        captured, one, ledger = self._plan.captured, self._passes[0][1], self.optimizer.param_groups[0]["ledger"]
        if not isinstance(one, CPUUpdatePass) or one._last is None or one._last.by_unit or peaks is not captured.peaks:
            return
        from steadystep.recorder.row_kernel import row_kernel

        self._kernel, self._one = row_kernel(), one
        last = one._last
        owners, ring = np.ascontiguousarray(last.chunks.table[:, 0]), self.ring
        self._sources = norms, peaks, last, ledger
        self._alive = owners
        held = (norms.numpy(), peaks.numpy(), last.squares, owners, ledger.numpy(), ring.numbers, ring.tensors)
        sizes = (len(self.parameters), len(owners), ring.numbers.shape[1])
        self._table[:] = *(array.ctypes.data for array in held), self._counts.applied.ctypes.data, *sizes


def as_slice(indices: Sequence[int]) -> slice | np.ndarray:
    """Return what selects these entries of an array: a slice if they follow each other, as it is much faster."""
    first, end = (indices[0], indices[-1] + 1) if len(indices) else (0, 0)
    return slice(first, end) if list(indices) == list(range(first, end)) else np.array(indices)
