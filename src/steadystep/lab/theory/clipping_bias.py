"""Clipping introduces bias: clipped SGD converges to the Huber location, not to the mean (Huber 1964)."""

import math
from functools import partial

import numpy as np
from numba import njit
from plotly import graph_objects as go
from scipy.integrate import quad
from scipy.optimize import root_scalar
from scipy.stats import lognorm

from steadystep.lab.figure import COLORS, NEUTRAL, Figure, styled
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Measurement, Progress
from steadystep.lab.theory.play import descend
from steadystep.optimizers import SGD

SAMPLES = 4_000_000
BURN_IN = 400_000
THRESHOLDS = {0.1: "1.00", 1.0: "1.15", 100.0: "1.65"}
NOISE = lognorm(1.0)


@njit
def location_gradient(x, sample):
    """Return the gradient of (x - sample)^2 / 2."""
    return x - sample


def huber_location(c: float) -> float:
    """Return the x at which E[clip(x - a, c)] = 0 for lognormal a, where the clipped gradients balance."""

    def balance(x: float) -> float:
        # E[clip(x - a, c)] = -c + the integral of P(a < s) over (x - c, x + c).
        return quad(NOISE.cdf, max(x - c, 0.0), x + c, limit=400, points=[x])[0] - c

    return root_scalar(balance, bracket=(1e-6, 5.0), xtol=1e-12).root


def clipped_mean(c: float, samples: np.ndarray) -> float:
    """Return the average iterate, after burn-in, of the project's SGD with gradients clipped at c."""
    path = descend(SGD.rule({"momentum": 0.0}), location_gradient, samples, {"lr": 0.005}, p=1.3, limit=c)
    return float(path[BURN_IN:].mean())


def check(progress: Progress) -> Evidence:
    """Compare the average iterate of clipped SGD with the Huber location, under skewed and symmetric noise."""
    rng = np.random.default_rng(0)
    skewed, even = rng.lognormal(size=SAMPLES), rng.normal(1.0, 1.0, SAMPLES)
    progress(0.2)
    found = {c: clipped_mean(c, skewed) for c in THRESHOLDS}
    progress(0.6)
    exact = {c: huber_location(c) for c in THRESHOLDS}
    unbiased = clipped_mean(0.1, even)
    mean = math.exp(0.5)
    grid = np.geomspace(0.05, 100, 40)
    return Evidence(
        (
            Finding(
                "Clipped SGD converges to the Huber location: "
                + ", ".join(f"c = {c:g}: {found[c]:.4f} ({exact[c]:.4f} by quadrature)" for c in THRESHOLDS)
                + " (tolerance 0.005)",
                all(abs(found[c] - exact[c]) < 0.005 for c in THRESHOLDS),
            ),
            Finding(
                f"With c = 0.1 it is biased by {found[0.1] - mean:+.2f}: it is close to the median 1, not to the mean "
                f"{mean:.3f}",
                abs(found[0.1] - mean) > 0.5 and abs(found[0.1] - 1) < 0.01,
            ),
            Finding(
                f"Under symmetric noise with mean 1 there is no bias ({unbiased:.4f} at c = 0.1, tolerance 0.01)",
                abs(unbiased - 1) < 0.01,
            ),
        ),
        (
            Measurement("mean of the noise", mean, "1.649"),
            *(Measurement(f"clipped at {c:g}, by SGD", found[c], stated) for c, stated in THRESHOLDS.items()),
            *(Measurement(f"clipped at {c:g}, by quadrature", exact[c], stated) for c, stated in THRESHOLDS.items()),
        ),
        partial(_figure, grid, [huber_location(c) for c in grid], found),
    )


def _figure(grid: np.ndarray, locations: list[float], found: dict[float, float]) -> Figure:
    plot = go.Figure()
    plot.add_scatter(
        x=grid, y=locations, name="Huber location", mode="lines", line={"color": COLORS[0], "width": 2},
        hovertemplate="c = %{x:.2g}: %{y:.3f}",
    )  # fmt: skip
    plot.add_scatter(
        x=list(found), y=list(found.values()), name="clipped SGD", mode="markers",
        marker={"color": COLORS[1], "size": 10, "symbol": "diamond"}, hovertemplate="c = %{x:g}: %{y:.3f}",
    )  # fmt: skip
    for value, label in ((math.exp(0.5), "mean"), (1.0, "median")):
        plot.add_hline(y=value, line={"color": NEUTRAL, "dash": "dot", "width": 1.5})
        plot.add_annotation(
            text=label, x=0, xref="x domain", xanchor="left", y=value, yanchor="bottom", showarrow=False
        )
    plot.update_xaxes(title="clipping threshold c (log scale)", type="log", dtick=1)
    plot.update_yaxes(title="limit of clipped SGD", range=[0.95, 1.72])
    return Figure(
        id="clipping-bias",
        title="Clipping trades the mean for the median",
        caption="Minimising the mean of (x - a)²/2 over lognormal a. A small threshold gives the median, no clipping "
        "the mean.",
        plot=styled(plot),
    )


CLAIM = Claim(
    id="clipping-bias",
    title="Clipping biases SGD under skewed noise",
    statement=r"SGD on $E(x - a)^2/2$ with gradients clipped at c converges to the Huber location, where "
    r"$E[\mathrm{clip}(x - a, c)] = 0$: between the median ($c \to 0$) and the mean ($c \to \infty$) of a.",
    source="Huber (1964); the bias in SGD: Koloskova, Hendrikx & Stich (2023)",
    assumptions=("a small learning rate; under symmetric noise all these locations are equal",),
    check=check,
)
