"""The p value of several looks at growing data."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from steadystep.lab.choices import Spending
from steadystep.lab.statistics.sequential.levels import one_sided_levels

ALPHAS = np.geomspace(1e-7, 0.5, 36)
"""Error rates for which the levels are computed; those between them are interpolated."""


def sequential_p(p_values: Sequence[float], shares: tuple[float, ...], spending: Spending, *, sides: int = 2) -> float:
    """Return the smallest error rate at which one of the looks so far rejects its hypothesis.

    With one look, and that at all data, it is the p value of that look. Holm's method applied to these values over
    several hypotheses is the procedure of Maurer and Bretz.
    Sources: Liu and Anderson, On adaptive extensions of group sequential trials for clinical investigations, JASA 103
    (2008); Maurer and Bretz, Multiple testing in group sequential trials using graphical approaches, Statistics in
    Biopharmaceutical Research 5 (2013).

    Args:
        p_values: of the looks so far, in order; nan where a look could not be tested.
        shares: of the data at each look of the design, increasing, the last one 1.
        spending: the name of the spending function.
        sides: of the tests, 1 or 2.

    >>> sequential_p([0.04], (1.0,), "pocock")
    0.04
    >>> looked_twice = sequential_p([0.5, 0.04], (0.5, 1.0), "pocock")
    >>> 0.05 < looked_twice < 0.08
    True
    """
    tested = [(number, p) for number, p in enumerate(p_values) if not math.isnan(p)]
    if not tested:
        return math.nan
    if len(shares) == 1:
        return p_values[0]
    log_alphas = np.log(ALPHAS)
    found = []
    for number, p in tested:
        levels = _log_levels(shares, spending)[:, number]
        found.append(float(np.exp(np.interp(math.log(max(p / sides, 1e-300)), levels, log_alphas))))
    return min(1.0, sides * min(found))


@cache
def _log_levels(shares: tuple[float, ...], spending: Spending) -> np.ndarray:
    """Return the logarithms of the levels: (error rates, looks). Below what can be computed, no level is reached."""
    levels = [one_sided_levels(shares, float(alpha), spending) for alpha in ALPHAS]
    return np.log(np.maximum(levels, 1e-300))
