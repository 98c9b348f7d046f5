"""What all sinks have in common: the metrics of an optimizer are written under the number of a step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from steadystep.applied_steps import required


class Sink(ABC):
    """Writes metrics to one run of an experiment tracker."""

    def __init__(self, owned: bool, prefix: str, per_tensor: bool) -> None:
        self._owned = owned  # whether what it writes to was opened for this sink
        self._prefix, self._per_tensor = prefix, per_tensor
        self._open = True

    def log(self, optimizer: Any, step: int | None = None, **more: Any) -> None:
        """Write `optimizer.metrics()`; this waits for the device.

        Args:
            optimizer: an optimizer of this package, or one that is guarded; a trainer may have wrapped it.
            step: the number of the step. Default: the number of steps that the optimizer attempted.
            **more: further metrics, such as ``loss=loss``: numbers, or tensors with one element.

        Raises:
            TypeError: for another optimizer, or for a metric that is not a number.
            ValueError: if the sink is closed.
        """
        if not self._open:
            raise ValueError("this sink is closed: call log before close, or open another one")
        metrics = required(optimizer, "log").metrics(self._prefix, per_tensor=self._per_tensor)
        number = int(metrics[f"{self._prefix}attempted"]) if step is None else int(step)
        self._write({**metrics, **{name: _number(name, value) for name, value in more.items()}}, number)

    def close(self) -> None:
        """Write what is left, and close what this sink opened; a second call does nothing."""
        self._end(failed=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(failed=kind is not None)

    def _end(self, failed: bool) -> None:
        if self._open:
            self._open = False
            self._close(failed)

    @abstractmethod
    def _write(self, metrics: Mapping[str, float], step: int) -> None:
        """Write the metrics of one step."""

    @abstractmethod
    def _close(self, failed: bool) -> None:
        """Close what this sink opened; `failed` says whether an exception ended the block of the sink."""


def _number(name: str, value: Any) -> float:
    detach = getattr(value, "detach", None)  # a loss is a tensor that requires a gradient
    try:
        return float(detach() if detach else value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"log takes numbers, and got {name}={value!r}") from None
