"""Alpha-spending functions: how much of the error rate may be spent by a share of the data."""

import math
from collections.abc import Callable

from scipy.special import ndtr, ndtri

from steadystep.lab.choices import Spending

Function = Callable[[float, float], float]


def obrien_fleming(alpha: float, share: float) -> float:
    """Return 2 (1 - Φ(z / √share)) with z = Φ⁻¹(1 - alpha / 2): little is spent on the first looks.

    Source: Lan and DeMets, Discrete sequential boundaries for clinical trials, Biometrika 70 (1983), α₁*, after
    O'Brien and Fleming, Biometrics 35 (1979).

    >>> round(obrien_fleming(0.05, 0.5), 5), obrien_fleming(0.05, 1.0)
    (0.00557, 0.05)
    """
    if share >= 1:
        return alpha
    return float(2 * ndtr(ndtri(alpha / 2) / math.sqrt(share)))


def pocock(alpha: float, share: float) -> float:
    """Return alpha log(1 + (e - 1) share): about equally strict looks.

    Source: Lan and DeMets, Biometrika 70 (1983), α₂*, after Pocock, Biometrika 64 (1977).

    >>> round(pocock(0.05, 0.5), 5), pocock(0.05, 1.0)
    (0.03101, 0.05)
    """
    return alpha if share >= 1 else alpha * math.log1p(math.expm1(1.0) * share)


SPENDING: dict[Spending, Function] = {"obrien-fleming": obrien_fleming, "pocock": pocock}
