"""Heavy-tailed gradient noise can make Adam fail; clipping prevents it (Chezhegov et al. 2025)."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
from numba import njit
from plotly import graph_objects as go
from scipy.stats import binomtest

from steadystep.lab.figure import COLORS, Figure, styled
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Progress
from steadystep.lab.theory.play import descend
from steadystep.optimizers import Adam

RUNS, STEPS = 400, 1_000
TAILS = (1.1, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0)
RATES = (0.001, 0.003, 0.01, 0.03)
ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
NOISE = 0.1
LIMIT = 1.0
"""The clipping threshold: the absolute value of the noise-free gradient at the start."""

TOLERANCE = 0.1
"""A run succeeds if it ends within this distance of the minimum at 0."""


@njit
def noisy_gradient(x, noise):
    """Return the gradient of x^2 / 2 with additive noise."""
    return x + noise


def draws(tail: float, seed: int) -> np.ndarray:
    """Draw symmetric noise with P(|xi| > s) = (1 + s / NOISE)^(-tail).

    Moments of order below `tail` are finite, all others are infinite. The shape is (RUNS, STEPS).
    """
    rng = np.random.default_rng(seed)
    sizes = NOISE * (rng.random((RUNS, STEPS)) ** (-1 / tail) - 1)
    return sizes * rng.choice([-1.0, 1.0], (RUNS, STEPS))


def check(progress: Progress) -> Evidence:
    """Measure the success rate of Adam, with and without clipping, at each tail index."""
    rule = Adam.rule({"variant": "torch", "amsgrad": False})
    success: dict[float, list[float]] = {math.inf: [], LIMIT: []}
    for n, tail in enumerate(TAILS):
        noise = draws(tail, n)
        for limit, best in success.items():
            runs = (descend(rule, noisy_gradient, noise, {**ADAM, "lr": lr}, p=1.0, limit=limit) for lr in RATES)
            # Each arm is judged at its best learning rate.
            best.append(max(float((np.abs(paths[:, -1]) < TOLERANCE).mean()) for paths in runs))
        progress((n + 1) / len(TAILS))
    plain, clipped = success[math.inf], success[LIMIT]
    intervals = {
        limit: [binomtest(round(p * RUNS), RUNS).proportion_ci(0.95, method="wilson") for p in rates]
        for limit, rates in success.items()
    }
    return Evidence(
        (
            Finding(
                f"At tail index {TAILS[0]:g}, Adam succeeds in {plain[0]:.0%} of {RUNS} runs and clipped Adam in "
                f"{clipped[0]:.0%}, each at its best learning rate",
                intervals[math.inf][0].high < intervals[LIMIT][0].low and plain[0] < 0.75,
            ),
            Finding(
                "Adam's success rate falls as the tail gets heavier: "
                + ", ".join(f"{tail:g}: {p:.0%}" for tail, p in zip(TAILS, plain, strict=True)),
                all(a <= b + 0.03 for a, b in pairwise(plain)) and plain[-1] > plain[0],
            ),
            Finding(
                f"Clipped at the size of the first gradient, it succeeds in at least {min(clipped):.1%} of "
                "the runs at every index",
                min(clipped) > 0.97,
            ),
            Finding(
                f"With a finite variance (index 3) clipping hardly matters: {plain[-1]:.1%} without it and "
                f"{clipped[-1]:.1%} with it",
                abs(plain[-1] - clipped[-1]) < 0.02,
            ),
        ),
        figure=partial(_figure, success, intervals),
    )


def _figure(success: dict[float, list[float]], intervals: dict[float, list]) -> Figure:
    plot = go.Figure()
    styles = {math.inf: ("Adam", COLORS[1], "dash", "square"), LIMIT: ("Adam, clipped", COLORS[0], "solid", "circle")}
    for limit, rates in success.items():
        name, color, dash, symbol = styles[limit]
        plot.add_scatter(
            x=TAILS, y=rates, name=name, mode="lines+markers", hovertemplate="tail index %{x}: %{y:.1%}",
            line={"color": color, "dash": dash, "width": 2}, marker={"symbol": symbol, "size": 8},
            error_y={
                "array": [interval.high - p for p, interval in zip(rates, intervals[limit], strict=True)],
                "arrayminus": [p - interval.low for p, interval in zip(rates, intervals[limit], strict=True)],
                "thickness": 1.5, "width": 4,
            },
        )  # fmt: skip
    plot.update_xaxes(title="tail index of the noise")
    plot.update_yaxes(title="successful runs", tickformat=".0%", range=[0, 1.04])
    return Figure(
        id="heavy-tails",
        title="Heavy-tailed noise makes Adam fail; clipping prevents it",
        caption=f"Share of {RUNS} runs on x²/2 from x = 1 that are within {TOLERANCE:g} of 0 after {STEPS:,} steps, "
        "each arm at the best of four learning rates; 95% Wilson intervals. Up to index 2 the variance of the noise is "
        "infinite.",
        plot=styled(plot),
    )


CLAIM = Claim(
    id="heavy-tails",
    title="Clipping makes Adam robust to heavy-tailed noise",
    statement="Under gradient noise with a heavy tail, Adam converges with a probability that falls with the tail "
    "index; with clipping it converges with high probability at every tail index above 1.",
    source="Chezhegov et al. (2025); for SGD: Zhang et al. (2020b). Their theorems are about convergence rates; this "
    "check measures success rates",
    assumptions=("symmetric noise: under skewed noise clipping also introduces a bias (clipping-bias)",),
    check=check,
)
