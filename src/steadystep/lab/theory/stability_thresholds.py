"""The sharpness up to which a learning rate is stable, and a check that real training settles at that sharpness."""

from functools import partial
from typing import Any

import numpy as np
import sympy
from numba import njit
from plotly import graph_objects as go

from steadystep.lab.figure import COLORS, NEUTRAL, Figure, styled
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Measurement, Progress
from steadystep.lab.theory.play import descend
from steadystep.lab.theory.rebound import SYMBOLIC, rebind
from steadystep.lab.theory.sharpness_run import SharpnessRun, sharpness_run
from steadystep.optimizers import SGD, Adam
from steadystep.rule import Rule, keywords

PLAIN = SGD.rule({"momentum": 0.0})
HEAVY_BALL = SGD.rule({"momentum": 0.9, "variant": "torch", "nesterov": False})
NESTEROV = SGD.rule({"momentum": 0.9, "variant": "torch", "nesterov": True})


@njit
def bowl(x, curvature):
    """Return the gradient of curvature * x^2 / 2."""
    return curvature * x


def check(progress: Progress) -> Evidence:
    """Derive the thresholds symbolically, test them on parabolas and measure the sharpness in full-batch training."""
    a, b, b1 = sympy.symbols("a b b1", positive=True)
    adam = Adam.rule({"variant": "torch", "amsgrad": False})
    found = {
        "gradient descent": (threshold(PLAIN, lr=a), 2 / a),
        "heavy ball": (threshold(HEAVY_BALL, lr=a, momentum=b, gain=1), (2 + 2 * b) / a),
        "Nesterov": (threshold(NESTEROV, lr=a, momentum=b, gain=1), (2 + 2 * b) / (a * (1 + 2 * b))),
        # The second moment is constant and equal to 1, so the preconditioner is frozen at 1.
        "frozen Adam": (
            threshold(
                adam, v=1, lr=a, beta1=b1, one_minus_beta1=1 - b1, beta2=1, one_minus_beta2=0,
                debias1=1, debias2=1, eps=0,
            ),
            (2 + 2 * b1) / ((1 - b1) * a),
        ),
    }  # fmt: skip
    exact = {name: sympy.simplify(measured - stated) == 0 for name, (measured, stated) in found.items()}
    frozen = found["frozen Adam"][0].subs({b1: sympy.Rational(9, 10), a: 1})
    runs = {
        "gradient descent": (PLAIN, 2.0, {}),
        "heavy ball": (HEAVY_BALL, 3.8, {"momentum": 0.9, "dampening": 0.0}),
        "Nesterov": (NESTEROV, 3.8 / 2.8, {"momentum": 0.9, "dampening": 0.0}),
    }
    edges = {
        name: [_converges(rule, factor * threshold, options) for factor in (0.99, 1.01)]
        for name, (rule, threshold, options) in runs.items()
    }
    progress(0.1)
    gd = sharpness_run(lambda parameters: SGD(parameters, lr=0.14), 2 / 0.14, lambda done: progress(0.1 + 0.45 * done))
    preconditioned = sharpness_run(
        lambda parameters: Adam(parameters, lr=0.01, eps=1e-7), 38 / 0.01, lambda done: progress(0.55 + 0.45 * done)
    )
    late = [float(run.ratios[2 * len(run.ratios) // 3 :].mean()) for run in (gd, preconditioned)]
    return Evidence(
        (
            Finding(
                f"Full-batch gradient descent on digits: sharpness rises from {gd.ratios[1:].min():.2f} of 2/a to "
                f"{late[0]:.3f} of 2/a over the last third, while the loss falls from {gd.losses[0]:.2f} to "
                f"{gd.losses[-1]:.3f} (tolerance 5%)",
                bool(gd.ratios[1:].min() < 0.95 and abs(late[0] - 1) < 0.05 and gd.losses[-1] < 0.1 * gd.losses[0]),
            ),
            Finding(
                "Derived from the rules' own equations (SymPy): 2/a, (2+2b)/a, (2+2b)/(a(1+2b)) and (2+2β₁)/((1-β₁)a) "
                "for " + ", ".join(exact),
                all(exact.values()),
            ),
            Finding(
                "On a parabola 1% flatter than the threshold the rules converge; on one 1% sharper they diverge: "
                + ", ".join(edges),
                all(edge == [True, False] for edge in edges.values()),
            ),
            Finding(
                f"Full-batch Adam: preconditioned sharpness rises from {preconditioned.ratios[0]:.3f} of 38/a to "
                f"{late[1]:.3f} of 38/a over the last third (tolerance 5%)",
                bool(preconditioned.ratios[0] < 0.5 and abs(late[1] - 1) < 0.05),
            ),
        ),
        (Measurement("frozen Adam at β₁ = 0.9: threshold times a", float(frozen), "38"),),
        partial(_figure, gd, preconditioned),
    )


def threshold(rule: Rule, v: Any = None, **coefficients: Any) -> sympy.Expr:
    """Return the curvature at which a rule's linear recursion on a parabola has the eigenvalue -1.

    The result is NaN unless there is exactly one such curvature.
    """
    curvature, p, u = sympy.symbols("curvature p u", positive=True)
    state = (p,) if not rule.slots else (p, u)
    frozen = () if v is None else (sympy.Integer(v),)
    ordered = [sympy.sympify(coefficients[name]) for name in keywords(rule.update)]
    after = rebind(rule.update, SYMBOLIC)(curvature * p, *state, *frozen, *ordered)[: len(state)]
    matrix = sympy.Matrix(after).jacobian(sympy.Matrix(state))
    roots = sympy.solve((matrix + sympy.eye(len(state))).det(), curvature)
    return roots[0] if len(roots) == 1 else sympy.nan


def _converges(rule: Rule, curvature: float, options: dict[str, float]) -> bool:
    path = descend(rule, bowl, np.full(20_000, curvature), {"lr": 1.0, **options}, p=1.0)
    return bool(abs(path[-1]) < 1e-6)


def _figure(gd: SharpnessRun, adam: SharpnessRun) -> Figure:
    plot = go.Figure()
    runs = (
        ("gradient descent, threshold 2/a", gd, COLORS[1], "dash"),
        ("Adam, threshold 38/a", adam, COLORS[0], "solid"),
    )
    for name, run, color, dash in runs:
        plot.add_scatter(
            x=run.steps, y=run.ratios, name=name, mode="lines", line={"color": color, "dash": dash, "width": 2},
            hovertemplate="step %{x}: %{y:.2f}",
        )  # fmt: skip
    plot.add_hline(y=1, line={"color": NEUTRAL, "dash": "dot", "width": 1.5})
    plot.update_xaxes(title="full-batch step")
    plot.update_yaxes(title="sharpness / threshold", rangemode="tozero")
    return Figure(
        id="stability-thresholds",
        title="Sharpness rises to the threshold and stays there",
        caption="The largest eigenvalue of the Hessian (for Adam: of the preconditioned one) during two full-batch "
        "runs on 300 digits, as a fraction of the largest value that is stable on a parabola.",
        plot=styled(plot),
    )


CLAIM = Claim(
    id="stability-thresholds",
    title="Stability thresholds and the edge of stability",
    statement=r"On a parabola, gradient descent is stable up to the curvature $2/a$, heavy ball to $(2+2b)/a$, "
    r"Nesterov to $(2+2b)/(a(1+2b))$, Adam with a frozen preconditioner to $(2+2\beta_1)/((1-\beta_1)a)$; and "
    "in full-batch training, the (preconditioned) sharpness rises to this threshold and stays there.",
    source="Polyak (1964); Cohen et al. (2021), (2022)",
    assumptions=("full-batch training; thresholds are those of a quadratic model",),
    check=check,
)
