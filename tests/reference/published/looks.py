"""The error rate of several looks at growing data, by numerical integration."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy import optimize, stats


def overall(p_values: Sequence[float], shares: tuple[float, ...], spending: str, sides: int) -> float:
    """Return the smallest error rate at which one of the looks so far rejects, found as a root."""
    tested = [(look, p / sides) for look, p in enumerate(p_values) if not math.isnan(p)]
    if not tested or len(shares) == 1:
        return p_values[0] if p_values else math.nan

    def root(look: int, p: float) -> float:
        def excess(log_alpha: float) -> float:
            return math.log(max(nominal(shares, math.exp(log_alpha), spending)[look], 1e-300)) - math.log(
                max(p, 1e-300)
            )

        low, high = math.log(1e-7), math.log(0.5)
        if excess(high) < 0:
            return 0.5
        return 1e-7 if excess(low) > 0 else math.exp(float(optimize.brentq(excess, low, high, xtol=1e-6)))  # pyright: ignore[reportArgumentType]

    return min(1.0, sides * min(root(look, p) for look, p in tested))


@cache
def nominal(shares: tuple[float, ...], alpha: float, spending: str) -> tuple[float, ...]:
    """Return the one-sided level of each look, by Gauss-Legendre quadrature of the paths that went on."""
    if spending == "pocock":
        spent = [alpha * math.log(1 + (math.e - 1) * share) for share in shares]
    else:
        spent = [float(2 * stats.norm.sf(stats.norm.isf(alpha / 2) / math.sqrt(share))) for share in shares]
    nodes, weights = np.polynomial.legendre.leggauss(120)
    at, mass, before, used, levels = np.zeros(1), np.ones(1), 0.0, 0.0, []
    for share, by_now in zip(shares, spent, strict=True):
        step = math.sqrt(share - before)

        def exceeds(
            bound: float, at: Any = at, mass: Any = mass, step: float = step, more: float = by_now - used
        ) -> float:
            return float(mass @ stats.norm.sf((bound - at) / step)) - more

        bound = float(optimize.brentq(exceeds, -10, 40, xtol=1e-12))  # pyright: ignore[reportArgumentType]
        levels.append(float(stats.norm.sf(bound / math.sqrt(share))))
        low = -8 * math.sqrt(share)
        points = low + (bound - low) * (nodes + 1) / 2
        density = stats.norm.pdf((points[:, None] - at[None, :]) / step) @ mass / step
        at, mass = points, density * weights * (bound - low) / 2
        before, used = share, by_now
    return tuple(levels)
