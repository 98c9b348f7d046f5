"""Search further learning rates: beyond the edge at which the best one lies, or around it."""

import math
from collections.abc import Iterable

from steadystep.lab.errors import UserError

ALONE = 2.0
"""The ratio of the rates that are searched around a single one."""

CLOSEST = 1.01
"""The smallest ratio of further rates, whose 3 digits then differ."""


SMALLEST = 1e-30
"""Rates below it, and above its inverse, are no longer searched."""


def is_at_edge(rates: Iterable[float], best: float) -> bool:
    """Return whether the best rate is the lowest or the highest that was tried."""
    tried = list(rates)
    return best in (min(tried), max(tried))


def further_rates(rates: Iterable[float], best: float, number: int) -> list[float]:
    """Return so many more rates to try, rounded to 3 significant digits.

    If the best rate is the highest or the lowest one, they go on beyond it with the ratio of the grid. Else they lie
    between it and its neighbours, so that every arm can be given the same number of settings.

    >>> further_rates([0.01, 0.1, 1.0], best=1.0, number=2)
    [10.0, 100.0]
    >>> further_rates([0.01, 0.1, 1.0], best=0.01, number=1)
    [0.001]
    >>> further_rates([0.1, 0.1001], best=0.1001, number=2)
    [0.101, 0.102]
    >>> further_rates([0.01, 0.1, 1.0], best=0.1, number=3)
    [0.316, 0.0316, 0.178]
    """
    tried = sorted(set(rates))
    place = tried.index(best)
    ratio = max(CLOSEST, (tried[-1] / tried[0]) ** (1 / (len(tried) - 1))) if len(tried) > 1 else ALONE
    if len(tried) == 1:
        steps = [step for distance in range(1, number + 1) for step in (distance, -distance)]
        return [_rounded(best * ratio**step) for step in steps[:number]]
    if place == len(tried) - 1:
        return [_rounded(best * ratio**step) for step in range(1, number + 1)]
    if place == 0:
        return [_rounded(best / ratio**step) for step in range(1, number + 1)]
    found: list[float] = []
    weight = 0.5
    while len(found) < number:
        for neighbour in (tried[place + 1], tried[place - 1]):
            rate = _rounded(math.exp((1 - weight) * math.log(best) + weight * math.log(neighbour)))
            if rate not in tried and rate not in found:
                found.append(rate)
        weight /= 2
        if weight < 1e-3:  # the rates are so close that their 3 digits are alike
            found += [_rounded(max([*tried, *found]) * ratio**step) for step in range(1, number + 1 - len(found))]
    return found[:number]


def _rounded(rate: float) -> float:
    rounded = float(f"{rate:.3g}")
    if not SMALLEST <= rounded <= 1 / SMALLEST:
        raise UserError(
            f"the search for a better learning rate has come to {rate:.3g}, beyond anything that trains: the best one "
            "so far is the last of the rates that were tried; declare others, or widen: 0"
        )
    return rounded
