"""Starvation after a spike: a gradient spike decays much more slowly in Adam's second moment than in the first."""

from functools import partial

import numpy as np
import sympy
from plotly import graph_objects as go

from steadystep.lab.figure import COLORS, DASHES, NEUTRAL, Figure, styled
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Measurement, Progress
from steadystep.lab.theory.play import play
from steadystep.lab.theory.series import geometric
from steadystep.optimizers import Adam
from steadystep.rule import Rule

HISTORY = 20_000
AFTER = 6_000
ADAM = {"lr": 1.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


def after_spike(rule: Rule, spike: float, limit: float = np.inf) -> np.ndarray:
    """Return the steps from the spike on, in units of the learning rate; all gradients before and after it are 1."""
    gradients = np.ones(HISTORY + 1 + AFTER)
    gradients[HISTORY] = spike
    path = play(rule, gradients, ADAM, limit=limit)[:, 0]
    return -np.diff(path)[HISTORY - 1 :]


def check(progress: Progress) -> Evidence:
    """Measure the steps of Adam after a spike, with and without clipping, and after a lone spike."""
    rule = Adam.rule({"variant": "torch", "amsgrad": False})
    hundred, thousand = after_spike(rule, 100.0), after_spike(rule, 1000.0)
    clipped = after_spike(rule, 100.0, limit=2.0)
    progress(0.5)
    starved = np.flatnonzero(hundred < 0.9)
    gap = int(starved[-1]) + 1

    moved = {}
    for size in 10.0 ** np.arange(-4, 7):
        gradients = np.zeros(HISTORY + AFTER)
        gradients[HISTORY] = size
        moved[size] = abs(float(play(rule, gradients, ADAM)[-1, 0]))
    b1, b2 = sympy.symbols("b1 b2", positive=True)
    # The k-th step after the spike is (1-b1) b1^k / sqrt((1-b2) b2^k), independent of the size of the spike.
    series = (1 - b1) / sympy.sqrt(1 - b2) * geometric(b1 / sympy.sqrt(b2))
    total = float(series.subs({b1: sympy.Rational(9, 10), b2: sympy.Rational(999, 1000)}))
    return Evidence(
        (
            Finding(
                f"After a spike of 100 times the gradient, steps stay below 0.9 learning rates until step {gap:,}",
                gap > 1000 and hundred[50] < 0.5,
            ),
            Finding(
                f"Clipped at twice the usual norm, no later step is below 0.99 (smallest: {clipped.min():.3f})",
                clipped.min() > 0.99,
            ),
            Finding(
                f"A lone spike of 1e-4 to 1e6 after gradients of 0 moves a parameter by at most "
                f"{max(moved.values()):.2f} learning rates in total, the sum of the series ({total:.2f})",
                max(moved.values()) <= total * (1 + 1e-9),
            ),
        ),
        (
            Measurement("100x: step at +50", hundred[50], "0.324"),
            Measurement("100x: first step of 0.9 again at +", gap, "3751"),
            Measurement("1000x: step at +50", thousand[50], "0.049"),
            Measurement("1000x: step at +3,000", thousand[3000], "0.140"),
            Measurement("100x clipped at 2x: step at +50", clipped[50], "0.999"),
            Measurement("lone spike: total move in learning rates", max(moved.values()), "31.77"),
            Measurement("the same, by the series", total, "31.77"),
        ),
        partial(_figure, hundred, thousand, clipped),
    )


def _figure(hundred: np.ndarray, thousand: np.ndarray, clipped: np.ndarray) -> Figure:
    plot = go.Figure()
    places = np.unique(np.geomspace(1, AFTER - 1, 300).astype(int))
    lines = (("spike of 100", hundred), ("spike of 1000", thousand), ("spike of 100, clipped at 2", clipped))
    for (name, steps), color, dash in zip(lines, COLORS, DASHES, strict=False):
        plot.add_scatter(
            x=places, y=steps[places], name=name, mode="lines", line={"color": color, "dash": dash, "width": 2},
            hovertemplate="+%{x}: %{y:.3f}",
        )  # fmt: skip
    plot.add_hline(y=1, line={"color": NEUTRAL, "dash": "dot", "width": 1.5})
    plot.update_xaxes(title="steps after the spike (log scale)", type="log", dtick=1)
    plot.update_yaxes(title="step / learning rate", rangemode="tozero")
    return Figure(
        id="starvation",
        title="One spike starves Adam for thousands of steps",
        caption="All gradients are 1, except for one spike at step 0. The second moment forgets it a hundred times "
        "more slowly than the first; clipping keeps it out of both.",
        plot=styled(plot),
    )


CLAIM = Claim(
    id="starvation",
    title="Clipping prevents the starvation of Adam after a spike",
    statement=r"One gradient of $s \gg 1$ times its history shortens Adam's later steps to about "
    r"$1/\sqrt{1 + (1-\beta_2) \beta_2^k s^2}$ of the learning rate, k steps later; clipped to a small multiple of the "
    "usual norm, the spike leaves no trace. A lone spike moves a parameter by at most "
    r"$\alpha \frac{1-\beta_1}{\sqrt{1-\beta_2}} \frac{1}{1 - \beta_1/\sqrt{\beta_2}}$ in total.",
    source="Follows from the rule of Kingma & Ba (2015), Algorithm 1",
    assumptions=(
        r"$\beta = (0.9, 0.999)$ in the figures",
        "a history so long that the bias corrections have no effect",
    ),
    check=check,
)
