"""The optimizers and clippers whose cost is measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from steadystep.lab.tasks.clips import CLIPS
from steadystep.lab.tasks.names import resolve_clipper, resolve_optimizer
from steadystep.optimizers import OPTIMIZERS

REFERENCE = "SGD"
"""The optimizer that all others are compared with."""

CLIPPED = "Adam"
"""The optimizer with which every clipper is measured."""


@dataclass(frozen=True)
class CostArm:
    """An optimizer with its default options, and optionally a clipper."""

    optimizer: str
    clip: str | None = None

    @property
    def name(self) -> str:
        """The name of the arm in reports, such as "Adam + norm"."""
        return f"{self.optimizer} + {self.clip}" if self.clip else self.optimizer


def cost_arms(names: Sequence[str] = ()) -> tuple[CostArm, ...]:
    """Return the arms with these names, such as "Adam" and "Adam+norm", without duplicates and with SGD first.

    Default: every optimizer without clipping, and Adam with every clipper.

    Raises:
        UserError: if a name is unknown. The message is one line and lists the known names.

    >>> [arm.name for arm in cost_arms(["Adam", "Adam+norm"])]
    ['SGD', 'Adam', 'Adam + norm']
    """
    if not names:
        names = [*OPTIMIZERS, *(f"{CLIPPED}+{clip}" for clip in CLIPS)]
    return tuple(dict.fromkeys([CostArm(REFERENCE), *map(_arm, names)]))


def _arm(name: str) -> CostArm:
    optimizer, plus, clip = (part.strip() for part in name.partition("+"))
    return CostArm(resolve_optimizer(optimizer), resolve_clipper(clip) if plus else None)
