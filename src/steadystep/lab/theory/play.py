"""One parameter, stepped by one of the project's rules: over gradients that are given, or down a function's slope."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit

from steadystep.clipping.base import to_limit
from steadystep.lab.theory.rebound import compiled, machine, start, values
from steadystep.rule import Rule

EVERYWHERE = (-math.inf, math.inf)


def play(
    rule: Rule,
    gradients: Sequence[float] | np.ndarray,
    hyperparameters: Mapping[str, float | np.ndarray],
    *,
    p: float = 0.0,
    box: tuple[float, float] = EVERYWHERE,
    limit: float = math.inf,
) -> np.ndarray:
    """(steps, 1 + slots): parameter and state after each step on a gradient that is given.

    "lr" may be one for every step. After each step the parameter is projected onto `box`; before it the gradient is
    clipped to the norm `limit`.

    >>> from steadystep.optimizers.sgd import PLAIN
    >>> play(PLAIN, [1.0, 10.0], {"lr": 0.1}, limit=2.0)[:, 0].round(9).tolist()
    [-0.1, -0.3]
    """
    given = np.asarray(gradients, float)
    rates = np.broadcast_to(np.asarray(hyperparameters["lr"], float), given.shape)
    # lr stands first in every rule's scalars; the loop replaces it step by step.
    hyper = values(rule, {**hyperparameters, "lr": 0.0})
    low, high = map(float, box)
    return _play(compiled(rule), machine(to_limit), given, rates, start(rule, p), hyper, low, high, float(limit))


@njit(error_model="numpy")
def _play(step, clip, gradients, rates, state, hyper, low, high, limit):
    states = np.empty((len(gradients), len(state)))
    for k in range(len(gradients)):
        g = gradients[k]
        factor, _ = clip(abs(g), limit)
        state = step(k + 1.0, g * factor, state, (rates[k],) + hyper[1:])  # noqa: RUF005
        state = (min(max(state[0], low), high),) + state[1:]  # noqa: RUF005
        for i in range(len(state)):
            states[k, i] = state[i]
    return states


def descend(
    rule: Rule,
    gradient: Any,
    draws: np.ndarray,
    hyperparameters: Mapping[str, float],
    *,
    p: float,
    limit: float = math.inf,
) -> np.ndarray:
    """(steps,) the parameter after each step down a slope; or (runs, steps) where `draws` has a row a run.

    `gradient(p, draw)`, compiled by Numba, is the gradient at p with that step's draw of whatever is random in it.
    It is clipped to the norm `limit`.

    >>> from steadystep.optimizers.sgd import PLAIN
    >>> descend(PLAIN, njit(lambda p, curvature: curvature * p), np.full(3, 2.0), {"lr": 0.25}, p=8.0)
    array([4., 2., 1.])
    """
    hyper = values(rule, hyperparameters)
    rows = np.atleast_2d(draws)
    paths = _descend(compiled(rule), machine(to_limit), gradient, rows, start(rule, p), hyper, float(limit))
    return paths.reshape(np.shape(draws))


@njit(error_model="numpy")
def _descend(step, clip, gradient, draws, begin, hyper, limit):
    paths = np.empty(draws.shape)
    for run in range(draws.shape[0]):
        state = begin
        for k in range(draws.shape[1]):
            g = gradient(state[0], draws[run, k])
            factor, _ = clip(abs(g), limit)
            state = step(k + 1.0, g * factor, state, hyper)
            paths[run, k] = state[0]
    return paths
