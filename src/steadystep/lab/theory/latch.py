"""A neuron that stores a bit in a way that is robust to noise has vanishing gradients (Bengio et al. 1994)."""

import math
from functools import partial

import numpy as np
import sympy
from numba import njit
from plotly import graph_objects as go
from scipy.optimize import root_scalar

from steadystep.lab.figure import COLORS, DASHES, Figure, styled
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Progress

STEPS = 100
RUNS = 2_000
WEIGHTS = (1.25, 1.5, 2.0, 3.0)


@njit
def simulate(w, initial, noise):
    """Run x_t = tanh(w x_{t-1} + noise_t); return the states and log10 |d x_t / d x_0|, each of shape (runs, steps)."""
    states, decays = np.empty(noise.shape), np.empty(noise.shape)
    for run in range(noise.shape[0]):
        x, logarithm = initial, 0.0
        for t in range(noise.shape[1]):
            x = math.tanh(w * x + noise[run, t])
            logarithm += math.log10(w * (1 - x * x))
            states[run, t], decays[run, t] = x, logarithm
    return states, decays


def fixed_point(w: float, offset: float = 0.0) -> float:
    """Return the largest x = tanh(w x - offset), for w > 1 and an offset below the noise margin."""
    return root_scalar(lambda x: math.tanh(w * x - offset) - x, bracket=(noise_margin(w)[1], 1.0), xtol=1e-14).root


def noise_margin(w: float) -> tuple[float, float]:
    """Return the largest noise under which a latch of weight w never flips, and the lowest state under that noise."""
    # x = tanh(w x - u) has a positive solution for u up to the maximum of w x - atanh(x), attained at 1 - x^2 = 1/w.
    x = math.sqrt(1 - 1 / w)
    return w * x - math.atanh(x), x


def check(progress: Progress) -> Evidence:
    """Simulate noisy latches and measure how fast the derivatives of their states vanish."""
    rng = np.random.default_rng(0)
    positive, decays, slopes, slowest, bounds = {}, {}, {}, {}, {}
    for n, w in enumerate(WEIGHTS):
        margin = 0.9 * noise_margin(w)[0]
        noise = rng.uniform(-margin, margin, (RUNS, STEPS))
        states, logarithms = simulate(w, fixed_point(w), noise)
        positive[w] = float((states > 0).mean())
        decays[w] = logarithms.mean(axis=0)
        slopes[w] = float(np.polyfit(np.arange(1, STEPS + 1), decays[w], 1)[0])
        # Under constant noise of -margin the state converges to the lowest value it can have.
        lowest = fixed_point(w, margin)
        bounds[w] = math.log10(w * (1 - lowest**2))
        slowest[w] = float((logarithms / np.arange(1, STEPS + 1)).max())
        progress((n + 1) / len(WEIGHTS))
    # The same noise on a neuron whose gradient does not vanish at its fixed point.
    margin = 0.9 * noise_margin(2.0)[0]
    soft, _ = simulate(1.0, 0.9, rng.uniform(-margin, margin, (RUNS, STEPS)))
    forgotten = float((soft[:, -1] < 0).mean())
    loose, _ = simulate(2.0, fixed_point(2.0), rng.uniform(-4 * margin, 4 * margin, (RUNS, STEPS)))
    flipped = float((loose.min(axis=1) < 0).mean())
    return Evidence(
        (
            Finding(
                "The derivatives over T steps vanish as 10^(-rT): r = "
                + ", ".join(f"{-slopes[w]:.3f} at w = {w:g}" for w in WEIGHTS)
                + "; in no run and for no T do they vanish more slowly than the bound on the attracting set",
                all(slopes[w] < 0 and slowest[w] <= bounds[w] + 1e-9 < 0 for w in WEIGHTS),
            ),
            Finding(
                "At the fixed point x of a latch, the derivative w(1 - x²) is 2a/sinh 2a with a = wx; it is below 1 "
                "for every w > 1 (SymPy)",
                _derivative_at_rest(),
            ),
            Finding(
                f"Latches with w from {WEIGHTS[0]} to {WEIGHTS[-1]} keep their bit in all {RUNS} runs of {STEPS} "
                "steps, under noise of 90% of their noise margin",
                all(share == 1.0 for share in positive.values()),
            ),
            Finding(
                f"A neuron without an attractor (w = 1) forgets: after {STEPS} steps of the noise that a latch with "
                f"w = 2 tolerates, {forgotten:.0%} of the bits have flipped",
                forgotten > 0.3,
            ),
            Finding(
                f"Beyond its noise margin a latch fails too: at w = 2 and four times that noise, the bit flips in "
                f"{flipped:.0%} of the runs",
                flipped > 0.5,
            ),
        ),
        figure=partial(_figure, decays),
    )


def _derivative_at_rest() -> bool:
    a = sympy.Symbol("a", positive=True)
    x = sympy.tanh(a)  # a = w x, so w = a / x
    identity = sympy.simplify((a / x * (1 - x**2) - 2 * a / sympy.sinh(2 * a)).rewrite(sympy.exp)) == 0
    # sinh s > s for s > 0: both are 0 at s = 0, and the derivative cosh s of sinh s is above 1.
    s = sympy.Symbol("s", positive=True)
    gap = sympy.sinh(s) - s
    slope = sympy.diff(gap, s)
    above = sympy.simplify((slope - 2 * sympy.sinh(s / 2) ** 2).rewrite(sympy.exp)) == 0
    return bool(identity and gap.subs(s, 0) == 0 and above)


def _figure(decays: dict[float, np.ndarray]) -> Figure:
    plot = go.Figure()
    for (w, logarithms), color, dash in zip(decays.items(), COLORS, DASHES, strict=False):
        plot.add_scatter(
            x=list(range(1, STEPS + 1)), y=10**logarithms, name=f"w = {w:g}", mode="lines",
            line={"color": color, "dash": dash, "width": 2}, hovertemplate="T = %{x}: %{y:.1e}",
        )  # fmt: skip
    plot.update_xaxes(title="steps T")
    plot.update_yaxes(title="|∂x_T/∂x_0| (log scale)", type="log", exponentformat="power", dtick=20)
    return Figure(
        id="latch",
        title="A robust latch has a vanishing gradient",
        caption="Geometric mean over runs of the derivative of a neuron's state after T steps. Each neuron keeps its "
        "bit under noise; the more robust the latch, the faster the derivative vanishes.",
        plot=styled(plot),
    )


CLAIM = Claim(
    id="latch",
    title="Robust latching makes gradients vanish",
    statement=r"If $x_t = \tanh(w x_{t-1} + u_t)$ stores a bit robustly, so that its state stays where one step "
    r"contracts, $|\partial x_{t+1} / \partial x_t| < 1$, then "
    r"$|\partial x_T / \partial x_t| \to 0$ exponentially in $T - t$.",
    source="Bengio, Simard & Frasconi (1994), section IV, Theorems 1 to 4",
    assumptions=("noise below the noise margin of the latch",),
    check=check,
)
