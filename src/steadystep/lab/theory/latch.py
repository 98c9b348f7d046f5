"""A neuron that stores a bit against noise makes its gradients vanish (Bengio, Simard & Frasconi 1994)."""

import math
from functools import partial

import numpy as np
import sympy
from numba import njit
from plotly import graph_objects as go
from scipy.optimize import root_scalar

from steadystep.lab.figure import COLORS, DASHES, Figure, styled
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Tell

STEPS = 100
RUNS = 2_000
WEIGHTS = (1.25, 1.5, 2.0, 3.0)


@njit
def remember(w, begin, noise):
    """x_t = tanh(w x_{t-1} + noise_t): states, and log10 of |d x_t / d x_0|, by run and step."""
    states, decays = np.empty(noise.shape), np.empty(noise.shape)
    for run in range(noise.shape[0]):
        x, logarithm = begin, 0.0
        for t in range(noise.shape[1]):
            x = math.tanh(w * x + noise[run, t])
            logarithm += math.log10(w * (1 - x * x))
            states[run, t], decays[run, t] = x, logarithm
    return states, decays


def rest(w: float, push: float = 0.0) -> float:
    """The largest x = tanh(w x - push), for w > 1 and a push that the latch withstands."""
    return root_scalar(lambda x: math.tanh(w * x - push) - x, bracket=(room(w)[1], 1.0), xtol=1e-14).root


def room(w: float) -> tuple[float, float]:
    """The largest noise that a latch of weight w withstands for ever, and where the state then is at least."""
    # x = tanh(w x - u) has a positive solution for u up to the largest w x - atanh(x), which is at 1 - x^2 = 1/w.
    x = math.sqrt(1 - 1 / w)
    return w * x - math.atanh(x), x


def check(tell: Tell) -> Evidence:
    random = np.random.default_rng(0)
    kept, decays, slopes, slowest, bounds = {}, {}, {}, {}, {}
    for n, w in enumerate(WEIGHTS):
        allowed = 0.9 * room(w)[0]
        noise = random.uniform(-allowed, allowed, (RUNS, STEPS))
        states, logarithms = remember(w, rest(w), noise)
        kept[w] = float((states > 0).mean())
        decays[w] = logarithms.mean(axis=0)
        slopes[w] = float(np.polyfit(np.arange(1, STEPS + 1), decays[w], 1)[0])
        # Under noise that always pushes down the state comes to rest at its lowest.
        lowest = rest(w, allowed)
        bounds[w] = math.log10(w * (1 - lowest**2))
        slowest[w] = float((logarithms / np.arange(1, STEPS + 1)).max())
        tell((n + 1) / len(WEIGHTS))
    # The same noise, on a neuron whose gradient does not vanish at rest.
    allowed = 0.9 * room(2.0)[0]
    soft, _ = remember(1.0, 0.9, random.uniform(-allowed, allowed, (RUNS, STEPS)))
    forgotten = float((soft[:, -1] < 0).mean())
    loose, _ = remember(2.0, rest(2.0), random.uniform(-4 * allowed, 4 * allowed, (RUNS, STEPS)))
    flipped = float((loose.min(axis=1) < 0).mean())
    return Evidence(
        (
            Finding(
                "Their derivatives over T steps vanish as 10^(-rT): r = "
                + ", ".join(f"{-slopes[w]:.3f} at w = {w:g}" for w in WEIGHTS)
                + ", in no run and for no T more slowly than the bound of the attracting set",
                all(slopes[w] < 0 and slowest[w] <= bounds[w] + 1e-9 < 0 for w in WEIGHTS),
            ),
            Finding(
                "At the fixed point x of a latch the derivative w(1 - x²) is 2a/sinh 2a with a = wx, below 1 for every "
                "w > 1 (SymPy)",
                _derivative_at_rest(),
            ),
            Finding(
                f"Latches with w from {WEIGHTS[0]} to {WEIGHTS[-1]} keep their bit in all of {RUNS} runs of {STEPS} "
                "steps, "
                "under noise of 90% of what they withstand",
                all(share == 1.0 for share in kept.values()),
            ),
            Finding(
                f"A neuron that does not attract (w = 1) forgets: after {STEPS} steps of the noise that w = 2 "
                f"withstands {forgotten:.0%} of its bits are turned",
                forgotten > 0.3,
            ),
            Finding(
                f"Beyond what it withstands a latch fails too: {flipped:.0%} of runs turn at w = 2 and four times that "
                "noise",
                flipped > 0.5,
            ),
        ),
        figure=partial(_figure, decays),
    )


def _derivative_at_rest() -> bool:
    a = sympy.Symbol("a", positive=True)
    x = sympy.tanh(a)  # a = w x, so w = a / x
    identity = sympy.simplify((a / x * (1 - x**2) - 2 * a / sympy.sinh(2 * a)).rewrite(sympy.exp)) == 0
    # sinh s > s for s > 0: equal at 0, and the slope cosh s is above 1.
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
        title="A latch that holds makes its gradient vanish",
        caption="Geometric mean over runs of the derivative of a neuron's state after T steps. Each neuron keeps its "
        "bit under noise; the surer it latches, the faster the derivative vanishes.",
        plot=styled(plot),
    )


CLAIM = Claim(
    id="latch",
    title="Robust latching makes gradients vanish",
    statement=r"If $x_t = \tanh(w x_{t-1} + u_t)$ stores a bit robustly, its state staying where one step contracts, "
    r"$|\partial x_{t+1} / \partial x_t| < 1$, then $|\partial x_T / \partial x_t| \to 0$ exponentially in $T - t$.",
    source="Bengio, Simard & Frasconi (1994), section IV, Theorems 1 to 4",
    assumptions=("noise below what the latch withstands",),
    check=check,
)
