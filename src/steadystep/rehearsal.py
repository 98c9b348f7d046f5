"""The step that torch.distributed.checkpoint takes with an optimizer only to make its state: it leaves no trace."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from steadystep.clipping.measured import Measured


def is_rehearsal(param_groups: Sequence[Mapping[str, Any]], measure: Callable[[], Measured]) -> bool:
    """Whether the first step of an optimizer only makes state: with learning rate 0 and zero gradients, on all ranks.

    `measure` is called only if every learning rate is 0.
    """
    if any(float(group.get("lr", 1.0)) != 0 for group in param_groups):
        return False
    return bool((measure().peaks == 0).all())
