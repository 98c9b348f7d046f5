"""Which optimizers and clippers are measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from steadystep.lab.named import clipper_named, optimizer_named
from steadystep.lab.tasks.clips import CLIPS
from steadystep.optimizers import OPTIMIZERS

REFERENCE = "SGD"
"""The optimizer that all are set in relation to."""

CLIPPED = "Adam"
"""The optimizer that every clipper is measured with."""


@dataclass(frozen=True)
class CostArm:
    """An optimizer with its default options, and a clipper or None."""

    optimizer: str
    clip: str | None = None

    @property
    def name(self) -> str:
        return f"{self.optimizer} + {self.clip}" if self.clip else self.optimizer


def cost_arms(given: Sequence[str] = ()) -> tuple[CostArm, ...]:
    """Arms from names such as "Adam" and "Adam+norm", each once, SGD first.

    Default: every optimizer by itself, and Adam with every clipper.

    Raises:
        UserError: in one line that lists the names there are.

    >>> [arm.name for arm in cost_arms(["Adam", "Adam+norm"])]
    ['SGD', 'Adam', 'Adam + norm']
    """
    if not given:
        given = [*OPTIMIZERS, *(f"{CLIPPED}+{clip}" for clip in CLIPS)]
    return tuple(dict.fromkeys([CostArm(REFERENCE), *map(_arm, given)]))


def _arm(name: str) -> CostArm:
    optimizer, plus, clip = (part.strip() for part in name.partition("+"))
    return CostArm(optimizer_named(optimizer), clipper_named(clip) if plus else None)
