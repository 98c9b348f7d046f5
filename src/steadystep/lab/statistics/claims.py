"""Compare a measured number with a claimed one."""

import math
from collections.abc import Iterable
from typing import Literal

from steadystep.lab.statistics.summary import Estimate

Comparison = Literal["reproduced", "exceeded", "not reproduced", "undecided"]

REPRODUCED: Literal["reproduced"] = "reproduced"
EXCEEDED: Literal["exceeded"] = "exceeded"
NOT_REPRODUCED: Literal["not reproduced"] = "not reproduced"
UNDECIDED: Literal["undecided"] = "undecided"

NOT_COMPARABLE: Literal["not comparable"] = "not comparable"
"""The verdict on a claim about another network than the measured one."""


def compare_with_claim(measured: Estimate, claimed: float, rivals: Iterable[float] = ()) -> Comparison:
    """Return how a measured 95% interval compares with a claimed number.

    Reproduced if the interval contains the number, exceeded if the interval is above it, not reproduced if the interval
    is below it. Undecided without an interval, or if the interval contains both the number and one of its `rivals`.

    >>> compare_with_claim(Estimate(0.93, 0.92, 0.94), 0.9)
    'exceeded'
    >>> compare_with_claim(Estimate(0.93, 0.92, 0.94), 0.935, rivals=[0.925])
    'undecided'
    """
    if math.isnan(measured.low):
        return UNDECIDED
    if claimed < measured.low:
        return EXCEEDED
    if claimed > measured.high:
        return NOT_REPRODUCED
    return UNDECIDED if any(measured.low <= rival <= measured.high for rival in rivals) else REPRODUCED
