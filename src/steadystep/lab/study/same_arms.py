"""Refuse an arm that is declared twice under two names: it would be tuned over twice as many settings as the others."""

import math
from collections.abc import Sequence
from itertools import combinations, product

from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.fields import TOLERANCE


def refuse_same_arms(arms: Sequence[Arm]) -> None:
    """Raise an error if two arms have the same optimizer, options and clipper.

    Two clipped arms differ if they take their thresholds in two ways, or from lists without a common value.

    Raises:
        ValueError: If two arms are the same; the message names them.
    """
    for one, other in combinations(arms, 2):
        if one.identity == other.identity and _thresholds_meet(one, other):
            clip = f", clip {one.clip} and a common threshold" if one.clip else ""
            raise ValueError(
                f"arms {one.name!r} and {other.name!r} are the same one: optimizer {one.optimizer}, the same options"
                f"{clip}. Every arm gets the same number of tuned settings, so declare it once, with all its lrs"
            )


def _thresholds_meet(one: Arm, other: Arm) -> bool:
    if not one.clip:
        return True
    pairs = [*product(one.quantiles, other.quantiles), *product(one.thresholds, other.thresholds)]
    return any(math.isclose(*pair, rel_tol=TOLERANCE) for pair in pairs)
