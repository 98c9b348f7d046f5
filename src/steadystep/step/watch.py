"""What is said while a run goes on, from the ledger's counts. It never waits for an accelerator, so it may be late."""

import warnings
from collections.abc import Sequence
from typing import cast

import torch

from steadystep.step.errors import TooManySkipsError
from steadystep.step.fields import AT, FIELDS
from steadystep.step.outer_clip import warnings_for

_REFUSED, _ZERO, _CLIPPED = (AT[name] for name in ("consecutive_skips", "zero_gradients", "already_clipped"))


class StepWatch:
    """Reads the ledger after a step, raises an error after too many refusals in a row, and warns once of the rest."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._ledger: torch.Tensor | None = None
        self._entries: Sequence[float] = ()
        self._landing: torch.Tensor | None = None
        self._event: torch.cuda.Event | None = None

    def check(self, ledger: torch.Tensor, limit: int) -> None:
        """Raise an error if the ledger counts more than `limit` refusals in a row; warn of what looks wrong."""
        entries = self._on_host(ledger) if ledger.is_cpu else self._latest(ledger)
        if not len(entries):
            return
        refused = entries[_REFUSED]
        if refused > limit:
            raise TooManySkipsError(
                f"{int(refused)} steps in a row were refused (max_consecutive_skips={limit}): the gradients stay "
                "non-finite or too large. optimizer.ledger says why; nonfinite='raise' names the tensors"
            )
        if entries[_ZERO] or entries[_CLIPPED]:
            for kind, message in warnings_for(entries).items():
                self.warn_once(kind, message)

    def warn_once(self, kind: str, message: str) -> None:
        """Warn of something unless a warning of this kind was given before."""
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(message, UserWarning, stacklevel=2)

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
