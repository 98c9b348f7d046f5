"""What all adapters do with an optimizer: name its parameters, refuse a second clip, and tell of refused steps."""

import logging
from collections.abc import Sequence

import torch.distributed as dist
from torch import nn

from steadystep.step.accounted import Accounted
from steadystep.step.trouble import first_of

logger = logging.getLogger("steadystep")

_REASONS = {
    "nonfinite": "the gradient is not finite in {names}",
    "overflow": "the square of the gradient overflows in {names}",
    "outlier": "the norm of the gradient is an outlier",
    "loss": "the loss is not finite",
    "update": "the update wrote values that are not finite",
}


def clips(optimizer: Accounted) -> bool:
    """Return whether an optimizer clips inside its step."""
    return bool(getattr(optimizer, "_clippers", ()))


def refuse_second_clip(optimizer: Accounted, setting: str, off: str) -> None:
    """Raise a ValueError if an optimizer clips and its trainer does too.

    Args:
        optimizer: the optimizer.
        setting: the trainer's setting, with its value.
        off: what turns the trainer's clipping off.
    """
    if clips(optimizer):
        raise ValueError(
            f"{setting} clips before {type(optimizer).__name__} does inside its step, which would hide what is not "
            f"finite: use {off}, or make the optimizer without clip="
        )


def name_parameters(optimizer: Accounted, objects: Sequence[object]) -> None:
    """Give the parameters of an optimizer the names that they have in the first model among `objects` with them all."""
    params = {param for group in optimizer.param_groups for param in group["params"]}
    for model in objects:
        if isinstance(model, nn.Module) and params <= set(model.parameters()):
            optimizer.name_parameters(model)
            return


class RefusedSteps:
    """Writes a warning for each refused step of one optimizer, with the reason and the tensors."""

    def __init__(self, optimizer: Accounted) -> None:
        self._optimizer = optimizer
        self._attempted = optimizer._step_counts().attempted
        self._faults: dict[str, int] = dict(optimizer.ledger["faults"])  # those before a checkpoint are not new

    def look(self) -> None:
        """Warn if there was a step since the last look and it was refused; this waits for the device."""
        counts, before = self._optimizer._step_counts(), self._attempted
        self._attempted = counts.attempted
        if counts.attempted != before and counts.refused and self._is_first_rank():
            logger.warning(self._message())

    def _message(self) -> str:
        ledger = self._optimizer.ledger
        known, self._faults = self._faults, dict(ledger["faults"])
        names = first_of([name for name, count in self._faults.items() if count != known.get(name, 0)])
        skip = ledger["last_skip"]
        reason = _REASONS[skip["reason"]].format(names=names)
        return (
            f"step {skip['step']} of {type(self._optimizer).__name__} was refused: {reason}; parameters, state and "
            "schedulers are as if it had not been"
        )

    @staticmethod
    def _is_first_rank() -> bool:
        return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0
