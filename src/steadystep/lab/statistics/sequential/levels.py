"""Compute the level of each look so that all looks together keep the declared error rate."""

from functools import cache

import numpy as np
from scipy.special import ndtr, ndtri

from steadystep.lab.choices import Spending
from steadystep.lab.statistics.sequential.spent import SPENDING

POINTS = 401
"""The number of grid points at which the density is computed; odd, for Simpson's rule."""
TAIL = 1e-14
"""What is left out of the density on each side."""


@cache
def one_sided_levels(shares: tuple[float, ...], alpha: float, spending: Spending) -> tuple[float, ...]:
    """Return the level of each look's one-sided test: P(first rejection at look k) = spent(k) - spent(k - 1).

    The statistic of a look is B(t) / √t, where B is a Brownian motion and t the share of the data. The density of B
    among the paths that have not been rejected is integrated from look to look.
    Source: Armitage, McPherson and Rowe, Repeated significance tests on accumulating data, J. R. Statist. Soc. A 132
    (1969); levels for t tests as in Jennison and Turnbull, Group Sequential Methods (2000), section 3.8.

    Args:
        shares: of the data at each look, increasing, the last one 1.
        alpha: the error rate of all looks together. For a test with two sides, half of its error rate.
        spending: the name of the spending function.

    >>> levels = one_sided_levels((0.2, 0.4, 0.6, 0.8, 1.0), 0.025, "obrien-fleming")
    >>> [round(float(-ndtri(level)), 2) for level in levels]  # of Lan and DeMets' table, for 0.05 on two sides
    [4.88, 3.36, 2.68, 2.29, 2.03]
    """
    spent = [0.0, *(SPENDING[spending](alpha, share) for share in shares)]
    levels: list[float] = []
    grid, density, before = np.zeros(1), np.ones(1), 0.0
    for number, share in enumerate(shares):
        wanted = spent[number + 1] - spent[number]
        step = np.sqrt(share - before)
        bound = _bound(grid, density, step, wanted)
        levels.append(float(ndtr(-bound / np.sqrt(share))))
        low = float(ndtri(TAIL)) * np.sqrt(share)
        points = np.linspace(low, bound, POINTS)
        kernel = np.exp(-0.5 * ((points[:, None] - grid[None, :]) / step) ** 2) / (step * np.sqrt(2 * np.pi))
        grid, density, before = points, (kernel @ density) * _simpson(points), share
    return tuple(levels)


def _bound(grid: np.ndarray, mass: np.ndarray, step: float, wanted: float) -> float:
    """Return the bound that paths which start at the grid's points exceed with the wanted probability."""
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        if float(mass @ ndtr((grid - middle) / step)) > wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _simpson(points: np.ndarray) -> np.ndarray:
    weights = np.ones(len(points))
    weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
    return weights * (points[1] - points[0]) / 3
