"""Conditions for vanishing and exploding gradients in a recurrent network (Pascanu et al. 2013, section 2)."""

from functools import partial

import numpy as np
from plotly import graph_objects as go

from steadystep.lab.figure import COLORS, DASHES, NEUTRAL, Figure, styled
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Measurement, Progress

STEPS = 60
NETS = 300
SLOPE = {"tanh": 1.0, "sigmoid": 0.25}
"""gamma, the largest derivative of each nonlinearity."""

SHEAR = np.array([[0.9, 5.0], [0.0, 0.9]])


def jacobian_norms(W: np.ndarray, kind: str, state: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Return the norms of the derivatives of x_1, ..., x_T with respect to x_0, where x_t = W s(x_{t-1}) + u_t."""
    J, norms = np.eye(len(W)), np.empty(len(inputs))
    for t, u in enumerate(inputs):
        s = np.tanh(state) if kind == "tanh" else 1 / (1 + np.exp(-state))
        slope = 1 - s**2 if kind == "tanh" else s * (1 - s)
        J = W @ (slope[:, None] * J)
        state = W @ s + u
        norms[t] = np.linalg.norm(J, 2)
    return norms


def check(progress: Progress) -> Evidence:
    """Compute the norms of derivatives through random recurrent networks and through two counterexamples."""
    rng = np.random.default_rng(0)
    worst, largest_end, exploded, contracting_exploded = 0.0, 0.0, 0, 0
    powers = np.arange(1, STEPS + 1)
    for net in range(NETS):
        kind = ("tanh", "sigmoid")[net % 2]
        n = int(rng.integers(2, 12))
        W = rng.normal(size=(n, n))
        gain = float(rng.uniform(0.5, 0.98) if net < NETS // 2 else rng.uniform(0.98, 3.0))
        W *= gain / (SLOPE[kind] * np.linalg.norm(W, 2))
        inputs = rng.normal(size=(STEPS, n)) * 10 ** rng.uniform(-3, 0.5)
        norms = jacobian_norms(W, kind, rng.normal(size=n) * 0.1, inputs)
        if gain < 1:
            worst = max(worst, float((norms / gain**powers).max()))
            largest_end = max(largest_end, float(norms[-1] / gain**STEPS))
        exploded += bool(norms.max() > 1)
        contracting_exploded += bool(norms.max() > 1 and gain < 1)
        progress(net / NETS)
    orthogonal = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    grows = jacobian_norms(1.5 * orthogonal, "tanh", np.full(6, 1e-12), np.zeros((STEPS, 6)))
    saturated = jacobian_norms(1.5 * orthogonal, "tanh", np.full(6, 3.0), np.full((STEPS, 6), 3.0))
    entries = np.array([np.abs(np.linalg.matrix_power(SHEAR, k)).max() for k in range(1, 101)])
    radius = float(np.abs(np.linalg.eigvals(SHEAR)).max())
    return Evidence(
        (
            Finding(
                f"With γ·σ_max(W) < 1, no derivative over T steps exceeds (γ·σ_max)^T in {NETS} random networks, tanh "
                f"and sigmoid (largest: {worst:.3f} of the bound)",
                0 < worst <= 1 + 1e-9,
            ),
            Finding(
                f"Of {exploded} networks with a derivative above 1, none has γ·σ_max(W) < 1: a larger value is "
                "necessary",
                exploded > 10 and contracting_exploded == 0,
            ),
            Finding(
                f"A larger value can make a derivative explode (σ_max = 1.5, near rest: {grows[-1]:.1e} after {STEPS} "
                f"steps) but is not sufficient (the same W, saturated: {saturated[-1]:.1e})",
                grows[-1] > 1e6 and saturated[-1] < 1e-6,
            ),
            Finding(
                f"The spectral radius decides neither: [[0.9, 5], [0, 0.9]] has radius {radius:.1f}, and its powers "
                f"grow to {entries.max():.1f} before they vanish",
                radius < 1 < entries.max(),
            ),
        ),
        (
            Measurement("spectral radius of the shear", radius, "0.9"),
            Measurement("largest entry of its powers", float(entries.max()), "19.4"),
        ),
        partial(_figure, grows, saturated, entries[:STEPS]),
    )


def _figure(grows: np.ndarray, saturated: np.ndarray, entries: np.ndarray) -> Figure:
    plot = go.Figure()
    lines = (
        ("σ = 1.5, near rest", grows),
        ("σ = 1.5, saturated", saturated),
        ("powers of [[0.9, 5], [0, 0.9]]", entries),
    )
    for (name, norms), color, dash in zip(lines, COLORS, DASHES, strict=False):
        plot.add_scatter(
            x=list(range(1, len(norms) + 1)), y=norms, name=name, mode="lines", hovertemplate="%{y:.2g}",
            line={"color": color, "dash": dash, "width": 2},
        )  # fmt: skip
    plot.add_hline(y=1, line={"color": NEUTRAL, "dash": "dot", "width": 1.5})
    plot.update_xaxes(title="steps T")
    plot.update_yaxes(
        title="size of the derivative (log scale)", type="log", exponentformat="power", range=[-20, 11], dtick=5
    )
    return Figure(
        id="rnn-gradients",
        title="A singular value above 1 allows gradients to explode but does not force them to",
        caption="Derivatives of the state after T steps. The same weights explode near rest and vanish in saturation; "
        "the powers of a matrix of spectral radius 0.9 grow at first.",
        plot=styled(plot),
    )


CLAIM = Claim(
    id="rnn-gradients",
    title="Vanishing and exploding gradients of recurrent networks",
    statement=r"$\sigma_{\max}(W) < 1/\gamma$ suffices for gradients to vanish, and $\sigma_{\max}(W) > 1/\gamma$ is "
    r"necessary for them to explode, with $\gamma = 1$ for tanh and $1/4$ for the logistic sigmoid: the largest "
    "singular value, not the spectral radius.",
    source="Pascanu, Mikolov & Bengio (2013), section 2.1, which speaks of the largest eigenvalue in places",
    assumptions=(r"$x_t = W \sigma(x_{t-1}) + u_t$, derivatives taken in the Euclidean norm",),
    check=check,
)
