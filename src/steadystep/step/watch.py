"""What is said while a run goes on, from the ledger's counts. It never waits for an accelerator, so it may be late."""

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import cast

import torch

from steadystep.step.errors import TooManySkipsError
from steadystep.step.fields import AT, FIELDS
from steadystep.step.ledger import last_reason
from steadystep.step.outer_clip import warnings_for
from steadystep.step.trouble import BECAUSE, first_of, looks_like

_REFUSED, _ZERO, _CLIPPED = (AT[name] for name in ("consecutive_skips", "zero_gradients", "already_clipped"))


class StepWatch:
    """Reads the ledger after a step, raises an error after too many refusals in a row, and warns once of the rest."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._ledger: torch.Tensor | None = None
        self._entries: Sequence[float] = ()
        self._landing: torch.Tensor | None = None
        self._event: torch.cuda.Event | None = None

    def check(self, ledger: torch.Tensor, limit: int, tensors: Callable[[], Sequence[str]]) -> None:
        """Raise an error if the ledger counts more than `limit` refusals in a row; warn of what looks wrong.

        Args:
            ledger: the ledger's vector.
            limit: how many refusals in a row are allowed.
            tensors: returns the names of the tensors at fault, if there is an error.
        """
        entries = self._on_host(ledger) if ledger.is_cpu else self._latest(ledger)
        if not len(entries):
            return
        refused = entries[_REFUSED]
        if refused > limit:
            raise _too_many(entries, limit, tensors())
        if entries[_ZERO] or entries[_CLIPPED]:
            for kind, message in warnings_for(entries).items():
                self.warn_once(kind, message)

    def warn_once(self, kind: str, message: str) -> None:
        """Warn of something unless a warning of this kind was given before."""
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(message, UserWarning, stacklevel=_level_of_caller())

    def _on_host(self, ledger: torch.Tensor) -> Sequence[float]:
        if ledger is not self._ledger:
            self._ledger, self._entries = ledger, cast(Sequence[float], ledger.numpy())
        return self._entries

    def _latest(self, ledger: torch.Tensor) -> Sequence[float]:
        """Return the latest ledger that has reached the host, if any has, and start copying the current one."""
        if torch.cuda.is_current_stream_capturing():  # nothing is computed while a CUDA graph is being recorded
            return ()
        latest: Sequence[float] = ()
        if self._landing is None or self._event is None:
            self._landing, self._event = (
                torch.zeros(len(FIELDS), dtype=ledger.dtype, pin_memory=True, device="cpu"),
                torch.cuda.Event(),
            )
        elif not self._event.query():
            return ()
        else:
            latest = self._landing.tolist()
        self._landing.copy_(ledger, non_blocking=True)
        self._event.record(torch.cuda.current_stream(ledger.device))  # its device need not be the current one
        return latest


def _level_of_caller() -> int:
    """Return how far above the function that warns the training loop is: the first code that is not ours or torch's."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(("steadystep.", "torch.")):
        frame, level = frame.f_back, level + 1
    return level


def _too_many(entries: Sequence[float], limit: int, tensors: Sequence[str]) -> TooManySkipsError:
    reason, refused = last_reason(entries), int(entries[_REFUSED])
    at_fault = f" in {first_of(tensors)}" if tensors and reason in ("nonfinite", "overflow") else ""
    problem = (
        f"{refused} steps in a row were refused (max_consecutive_skips={limit}), the last one because "
        f"{BECAUSE[reason]}{at_fault}"
    )
    step = int(entries[AT["attempted"]])
    return TooManySkipsError(problem, looks_like(entries, reason), step, tensors, reason)
