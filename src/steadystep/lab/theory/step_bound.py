"""The published bound on the step of Adam (Kingma & Ba 2015, section 2.1), and the exact bound."""

import math
from functools import partial

import numpy as np
import sympy
from plotly.subplots import make_subplots
from scipy.optimize import minimize

from steadystep.lab.figure import COLORS, NEUTRAL, Figure, styled
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Measurement, Progress
from steadystep.lab.theory.play import play
from steadystep.lab.theory.series import geometric
from steadystep.optimizers import Adam
from steadystep.rule import Rule

BETAS = (0.9, 0.999)
LONG = 20_000
"""The number of steps after which 0.999^t is 2e-9, so that both bias corrections have no effect."""

TINY = 1e-300
"""Replaces eps = 0, so that steps before the first non-zero gradient are 0 and not 0/0."""


def published(beta1: float, beta2: float) -> float:
    """Return the published bound on a step, in units of the learning rate."""
    return max(1.0, (1 - beta1) / math.sqrt(1 - beta2))


def supremum(beta1: float, beta2: float) -> float:
    """Return the exact supremum of a step, in units of the learning rate."""
    return (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))


def supremum_at(t: int, beta1: float, beta2: float) -> float:
    """Return the exact supremum of the t-th step, in units of the learning rate."""
    gamma = beta1**2 / beta2
    limits = math.sqrt((1 - gamma**t) / (1 - gamma))
    return (1 - beta1) / math.sqrt(1 - beta2) * limits * math.sqrt(1 - beta2**t) / (1 - beta1**t)


def steps(rule: Rule, gradients: np.ndarray, beta1: float, beta2: float) -> np.ndarray:
    """Return the steps of the rule in units of the learning rate."""
    path = play(rule, gradients, {"lr": 1.0, "beta1": beta1, "beta2": beta2, "eps": TINY})[:, 0]
    return -np.diff(path, prepend=0.0)


def extremal(t: int, beta1: float, beta2: float) -> np.ndarray:
    """Return the t gradients g_k ~ (beta1 / beta2)^(t - k), which make the t-th step as large as possible."""
    # Limited to 1e-100 from below, whose square does not underflow. Smaller gradients have no effect.
    return np.maximum((beta1 / beta2) ** np.arange(t - 1.0, -1.0, -1.0), 1e-100)


def check(progress: Progress) -> Evidence:
    """Compare the largest steps of Adam with the published bound and with the exact supremum."""
    rule = Adam.rule({"variant": "torch", "amsgrad": False})
    worst = steps(rule, extremal(LONG, *BETAS), *BETAS)
    late = float(worst[-1])
    other = float(steps(rule, extremal(LONG, 0.9, 0.95), 0.9, 0.95)[-1])
    burst = steps(rule, np.r_[np.ones(LONG), np.full(10, 100.0)], *BETAS)
    progress(0.3)

    finite = {t: float(steps(rule, extremal(t, *BETAS), *BETAS)[-1]) for t in (1, 2, 5, 20, 100, 1000, 10_000)}
    error = max(abs(step / supremum_at(t, *BETAS) - 1) for t, step in finite.items())
    largest, sequences = _search(rule, 2_000, 40)
    progress(0.6)
    climbed = _climb(rule, 12)

    # Cauchy-Schwarz: (sum c_j g_j)^2 <= sum c_j^2 / d_j * sum d_j g_j^2, with the weights c of m and d of v.
    b1, b2, j = sympy.symbols("b1 b2 j", positive=True)
    term = ((1 - b1) * b1**j) ** 2 / ((1 - b2) * b2**j)
    is_geometric = sympy.simplify(term / term.subs(j, 0) / (b1**2 / b2) ** j) == 1
    squared = term.subs(j, 0) * geometric(b1**2 / b2)
    derived = is_geometric and abs(math.sqrt(squared.subs({b1: 0.9, b2: 0.999})) / supremum(*BETAS) - 1) < 1e-12
    return Evidence(
        (
            Finding(
                f"No sequence of gradients causes a step longer than {published(*BETAS):.3f} times the learning rate "
                f"(longest found: {late:.3f})",
                late <= published(*BETAS),
            ),
            Finding(
                "Cauchy-Schwarz bounds every step by a geometric series of ratio β₁²/β₂ (SymPy)",
                derived,
                "instead",
            ),
            Finding(
                "The rule attains the finite-t supremum on g_k ~ (β₁/β₂)^(t-k), t = 1 to 10,000 "
                f"(relative error {error:.1e}, tolerance 1e-10)",
                error < 1e-10,
                "instead",
            ),
            Finding(
                f"None of {sequences:,} steps on random sequences exceeds it (longest: {largest:.3f} of it)",
                largest <= 1 + 1e-12,
                "instead",
            ),
            Finding(
                f"A numeric search over all sequences of 12 gradients ends within {abs(climbed - 1):.1e} of it "
                "(tolerance 1e-5)",
                abs(climbed - 1) < 1e-5,
                "instead",
            ),
        ),
        (
            Measurement("published bound at (0.9, 0.999)", published(*BETAS), "3.162"),
            Measurement("exact supremum, by the formula", supremum(*BETAS), "7.270"),
            Measurement("the rule on the extremal sequence", late, "7.270"),
            Measurement("ten steps at 100 times a constant history", float(burst[-1]), "6.53"),
            Measurement("the rule's supremum at (0.9, 0.95)", other, "1.165"),
            Measurement("published bound at (0.9, 0.95)", published(0.9, 0.95), "1"),
        ),
        partial(_figure, burst[LONG - 5 :], finite),
    )


def _search(rule: Rule, sequences: int, length: int) -> tuple[float, int]:
    """Return the largest step on random sequences as a fraction of the finite-t supremum, and the number of steps.

    The first step is left out: it is 1 for every gradient, so it always attains the supremum.
    """
    rng = np.random.default_rng(0)
    scales = 10 ** rng.uniform(0, 3, (sequences, 1))
    drift = rng.uniform(-1, 1, (sequences, 1)) * np.arange(length)
    gradients = rng.choice([-1.0, 1.0, 1.0, 1.0], (sequences, length)) * scales ** rng.normal(0, 1, (sequences, length))
    gradients *= np.exp(drift)
    bounds = np.array([supremum_at(t, *BETAS) for t in range(1, length + 1)])
    ratios = [np.abs(steps(rule, row, *BETAS))[1:] / bounds[1:] for row in gradients]
    return float(np.max(ratios)), np.size(ratios)


def _climb(rule: Rule, t: int) -> float:
    """Maximise the t-th step over the logarithms of t gradients; return the maximum divided by the supremum."""

    def negative_step(logarithms: np.ndarray) -> float:
        return -float(steps(rule, np.exp(logarithms - logarithms.max()), *BETAS)[-1])

    result = minimize(negative_step, np.zeros(t), method="BFGS", options={"gtol": 1e-9})
    return -float(result.fun) / supremum_at(t, *BETAS)


def _figure(burst: np.ndarray, finite: dict[int, float]) -> Figure:
    plot = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    plot.add_scatter(
        x=list(range(-4, 11)), y=burst, mode="lines+markers", line={"color": COLORS[0]}, col=1, row=1,
        name="ten gradients 100 times as large as all earlier ones", hovertemplate="%{y:.2f}",
    )  # fmt: skip
    ts = np.unique(np.geomspace(1, max(finite), 100).astype(int))
    plot.add_scatter(
        x=ts, y=[supremum_at(int(t), *BETAS) for t in ts], mode="lines", line={"color": COLORS[1], "dash": "dash"},
        name="largest t-th step, by the formula", hovertemplate="t = %{x}: %{y:.2f}", col=2, row=1,
    )  # fmt: skip
    plot.add_scatter(
        x=list(finite), y=list(finite.values()), mode="markers", col=2, row=1, hovertemplate="t = %{x}: %{y:.2f}",
        marker={"color": COLORS[1], "symbol": "diamond", "size": 9}, name="the rule on the extremal sequence",
    )  # fmt: skip
    for bound, label in ((published(*BETAS), "published bound"), (supremum(*BETAS), "exact supremum")):
        plot.add_hline(y=bound, line={"color": NEUTRAL, "dash": "dot", "width": 1.5})
        plot.add_annotation(
            text=f"{label} {bound:.3f}", x=0, xref="x domain", xanchor="left", y=bound, yanchor="bottom",
            showarrow=False,
        )  # fmt: skip
    plot.update_xaxes(title="step after the change", col=1)
    plot.update_xaxes(title="t (log scale)", type="log", dtick=1, col=2)
    plot.update_yaxes(title="step / learning rate", range=[0, 8.2], col=1)
    plot.update_yaxes(range=[0, 8.2], col=2)
    return Figure(
        id="step-bound",
        title="Adam's step exceeds its published bound",
        caption="Steps of the rule at β = (0.9, 0.999), in learning rates. Left: a constant gradient, then ten "
        "gradients of 100 times its size. Right: the largest t-th step that any sequence of gradients can cause; it is "
        "caused by gradients that grow by 0.999/0.9 per step.",
        plot=styled(plot),
    )


CLAIM = Claim(
    id="step-bound",
    title="Adam's published bound on its step",
    statement=r"$|\Delta_t| \le \alpha \max(1, (1-\beta_1)/\sqrt{1-\beta_2})$ for every sequence of gradients. "
    r"(Exact instead, for $\epsilon = 0$, $\beta_1^2 < \beta_2$ and $t \to \infty$: "
    r"$\alpha (1-\beta_1) / \sqrt{(1-\beta_2)(1-\beta_1^2/\beta_2)}$, attained by "
    r"$g_k \propto (\beta_1/\beta_2)^{t-k}$.)",
    source="Kingma & Ba (2015), section 2.1",
    assumptions=(r"$\epsilon = 0$", r"$\beta_1^2 < \beta_2$ for the exact supremum"),
    check=check,
)
