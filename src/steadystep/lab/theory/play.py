"""Update one scalar parameter with one of the project's rules, given a gradient sequence or a gradient function."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit

from steadystep.clipping.base import to_limit
from steadystep.lab.theory.rebound import compile_function, compile_step, initial_state, ordered_hyperparameters
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
    """Apply a rule to a sequence of gradients and return the parameter and its state after each step.

    The result has shape (steps, 1 + slots). The hyperparameter "lr" may be an array with one value per step. Each
    gradient is clipped to the norm `limit` before the step; the parameter is projected onto `box` after it.

    >>> from steadystep.optimizers.sgd import PLAIN
    >>> play(PLAIN, [1.0, 10.0], {"lr": 0.1}, limit=2.0)[:, 0].round(9).tolist()
    [-0.1, -0.3]
    """
    gradients = np.asarray(gradients, float)
    rates = np.broadcast_to(np.asarray(hyperparameters["lr"], float), gradients.shape)
    # lr is the first argument of every rule's `scalars`; the loop replaces it in each step.
    hyper = ordered_hyperparameters(rule, {**hyperparameters, "lr": 0.0})
    low, high = map(float, box)
    step, clip = compile_step(rule), compile_function(to_limit)
    return _play(step, clip, gradients, rates, initial_state(rule, p), hyper, low, high, float(limit))


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
    """Apply a rule to a gradient function and return the parameter after each step.

    `gradient(p, draw)`, compiled by Numba, is the gradient at p for the random draw of that step. It is clipped to the
    norm `limit`. The result has the shape of `draws`: (steps,), or (runs, steps) with one row per run.

    >>> from steadystep.optimizers.sgd import PLAIN
    >>> descend(PLAIN, njit(lambda p, curvature: curvature * p), np.full(3, 2.0), {"lr": 0.25}, p=8.0)
    array([4., 2., 1.])
    """
    hyper = ordered_hyperparameters(rule, hyperparameters)
    rows = np.atleast_2d(draws)
    step, clip = compile_step(rule), compile_function(to_limit)
    paths = _descend(step, clip, gradient, rows, initial_state(rule, p), hyper, float(limit))
    return paths.reshape(np.shape(draws))


@njit(error_model="numpy")
def _descend(step, clip, gradient, draws, initial, hyper, limit):
    paths = np.empty(draws.shape)
    for run in range(draws.shape[0]):
        state = initial
        for k in range(draws.shape[1]):
            g = gradient(state[0], draws[run, k])
            factor, _ = clip(abs(g), limit)
            state = step(k + 1.0, g * factor, state, hyper)
            paths[run, k] = state[0]
    return paths
