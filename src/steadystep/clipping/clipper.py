"""The interface of a clipper, and how clippers are given and chained."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real

from steadystep.clipping.measured import Measured
from steadystep.clipping.stages import Scale, Stage
from steadystep.maths import Number


class Clipper(ABC):
    """Decides from measurements what to do to the gradients. It never sees or changes the gradients themselves."""

    @abstractmethod
    def decide(self, measured: Measured) -> tuple[Stage, Number]:
        """The stage to apply, and whether it changes anything in this step (a bool, or a tensor on the device)."""


@dataclass(frozen=True)
class Decision:
    """What a chain of clippers makes of one step's gradients."""

    stages: tuple[Stage, ...]
    before: Measured
    after: Measured
    clipped: Number  # did any stage change anything


def decide(clippers: Sequence[Clipper], before: Measured, remeasure: Callable[[Sequence[Stage]], Measured]) -> Decision:
    """Let each clipper see what the ones before it leave. `remeasure` measures the gradients through stages."""
    stages: tuple[Stage, ...] = ()
    after, clipped = before, False
    for clipper in clippers:
        stage, bites = clipper.decide(after)
        stages += (stage,)
        clipped = clipped | bites
        # Scaling is known exactly; what clamping leaves of a norm has to be measured, a second pass.
        after = after.scaled(stage.factors) if isinstance(stage, Scale) else remeasure(stages)
    return Decision(stages, before, after, clipped)


Clip = float | Clipper | Sequence[float | Clipper] | None
"""What `clip=` accepts: nothing, a global norm, a clipper, or a chain of them."""


def as_clippers(clip: Clip) -> tuple[Clipper, ...]:
    """The chain that `clip=` means. A bare number c means ``ClipNorm(c)``.

    Raises:
        TypeError: for anything else, with what was given and what is accepted.

    >>> as_clippers(1.0)
    (ClipNorm(max_norm=1.0, scope='global'),)
    """
    from steadystep.clipping.clip_norm import ClipNorm

    if clip is None:
        return ()
    if isinstance(clip, Clipper):
        return (clip,)
    if isinstance(clip, Real) and not isinstance(clip, bool):
        return (ClipNorm(float(clip)),)
    if isinstance(clip, Sequence) and not isinstance(clip, str):
        return tuple(clipper for one in clip for clipper in as_clippers(one))
    raise TypeError(
        f"clip is {clip!r}: give None, a maximal global norm such as 1.0, a clipper such as "
        "steadystep.ClipValue(0.5), or a list of these, applied in order"
    )


def positive_bound(name: str, value: float) -> float:
    """`value` if it can bound something.

    Raises:
        ValueError: if it is not a number greater than 0 (a negative bound would turn gradients around).
    """
    if not (isinstance(value, Real) and not isinstance(value, bool) and value > 0):
        raise ValueError(f"{name} is {value!r}: it must be a number greater than 0 ({math.inf} never clips)")
    return float(value)
