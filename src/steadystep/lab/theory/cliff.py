"""The cliff that motivates gradient clipping (Pascanu, Mikolov & Bengio 2013, section 2.3 and Figure 6)."""

import math
from functools import partial

import numpy as np
import torch
from numba import njit
from plotly import graph_objects as go

from steadystep.clipping import ClipNorm
from steadystep.lab.figure import Figure, styled
from steadystep.lab.surface import add_surface
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Progress
from steadystep.optimizers import SGD

STEPS = 1_000
LR, MAX_NORM = 0.1, 0.5
START = (6.0, -2.75)
STARTS = [(w, b) for w in (5.0, 5.5, 6.0, 6.5) for b in (-3.0, -2.75, -2.5, -2.25)]


@njit
def error(w, b):
    """Return E = (sigma(x_50) - 0.7)^2, with x_t = w sigma(x_{t-1}) + b and x_0 = 0.5, and its gradient."""
    x, dw, db = 0.5, 0.0, 0.0
    for _ in range(50):
        s = 1.0 / (1.0 + math.exp(-x))
        slope = w * s * (1.0 - s)
        dw, db = s + slope * dw, 1.0 + slope * db
        x = w * s + b
    s = 1.0 / (1.0 + math.exp(-x))
    outer = 2.0 * (s - 0.7) * s * (1.0 - s)
    return (s - 0.7) ** 2, outer * dw, outer * db


@njit
def surface(ws, bs):
    """Compute the errors and gradient norms over a grid. Rows are values of b, columns values of w."""
    errors, norms = np.empty((len(bs), len(ws))), np.empty((len(bs), len(ws)))
    for i in range(len(bs)):
        for j in range(len(ws)):
            value, dw, db = error(ws[j], bs[i])
            errors[i, j], norms[i, j] = value, math.hypot(dw, db)
    return errors, norms


def paths(clip: ClipNorm | None, progress: Progress) -> np.ndarray:
    """Run gradient descent with the project's SGD from every starting point.

    Returns an array of shape (steps + 1, starts, 2). Each start is a separate parameter tensor, so that per-parameter
    clipping clips each path by its own norm.
    """
    weights = [torch.tensor(start, dtype=torch.float64, requires_grad=True) for start in STARTS]
    optimizer = SGD(weights, lr=LR, clip=clip)
    points = np.empty((STEPS + 1, len(STARTS), 2))
    points[0] = STARTS
    for k in range(STEPS):
        for weight, (w, b) in zip(weights, points[k], strict=True):
            weight.grad = torch.tensor(error(w, b)[1:], dtype=torch.float64)
        optimizer.step()
        points[k + 1] = torch.stack(weights).detach().numpy()
        progress(k / STEPS)
    return points


def check(progress: Progress) -> Evidence:
    """Run gradient descent at the cliff with and without clipping and compare the paths."""
    ws, bs = np.linspace(4.0, 7.0, 161), np.linspace(-3.5, -1.5, 161)
    errors, norms = surface(ws, bs)
    steepness = float(norms.max() / np.median(norms))
    plain = paths(None, lambda done: progress(done / 2))
    clipped = paths(ClipNorm(MAX_NORM, scope="parameter"), lambda done: progress(0.5 + done / 2))
    converged = [sum(error(w, b)[0] < 1e-3 for w, b in points[-1]) for points in (plain, clipped)]
    jumps = [float(np.linalg.norm(np.diff(points, axis=0), axis=2).max()) for points in (plain, clipped)]
    shown = STARTS.index(START)
    return Evidence(
        (
            Finding(
                f"Of {len(STARTS)} starts, {converged[0]} converge (E < 10⁻³) without clipping and {converged[1]} "
                f"with the norm clipped at {MAX_NORM:g}, at the same learning rate {LR:g}",
                converged[1] == len(STARTS) > 2 * converged[0],
            ),
            Finding(
                f"The surface has a cliff: the largest gradient norm on the grid is {steepness:.1e} times the median",
                steepness > 1e3,
            ),
            Finding(
                f"The longest unclipped step is {jumps[0]:.1f}, the longest clipped step {jumps[1]:.3f}: "
                "the learning rate times the threshold",
                jumps[0] > 10 and jumps[1] <= LR * MAX_NORM * (1 + 1e-12),
            ),
        ),
        figure=partial(_figure, ws, bs, errors, plain[:, shown], clipped[:, shown]),
    )


def _figure(ws: np.ndarray, bs: np.ndarray, errors: np.ndarray, plain: np.ndarray, clipped: np.ndarray) -> Figure:
    plot = go.Figure()
    add_surface(
        plot, ws, bs, np.log10(np.maximum(errors, 1e-6)), scale="Cividis_r", title="log₁₀ E",
        hover="w %{x:.2f}, b %{y:.2f}: E = 10^%{marker.color:.1f}<extra></extra>",
    )  # fmt: skip
    lines = (("without clipping", plain, "#ffffff", "x"), ("clipped at 0.5", clipped, "#ff9f40", "circle"))
    for name, points, color, symbol in lines:
        # Draw the unclipped path until it leaves the plot. Draw a subset of the clipped path, whose points lie close.
        inside = (points[:, 0] > ws[0]) & (points[:, 0] < ws[-1]) & (points[:, 1] > bs[0]) & (points[:, 1] < bs[-1])
        until = len(points) if inside.all() else int(np.argmin(inside)) + 1
        shown = points[:until] if until < 200 else points[np.unique(np.geomspace(1, until, 120).astype(int)) - 1]
        plot.add_scatter(
            x=shown[:, 0], y=shown[:, 1], name=name, mode="lines+markers", hovertemplate="w %{x:.2f}, b %{y:.2f}",
            line={"color": color, "width": 2}, marker={"symbol": symbol, "size": 6, "line": {"width": 0}},
        )  # fmt: skip
    plot.update_xaxes(title="w", range=[ws[0], ws[-1]], showgrid=False)
    plot.update_yaxes(title="b", range=[bs[0], bs[-1]], showgrid=False)
    return Figure(
        id="cliff",
        title="Gradient descent at a cliff",
        caption="The error of one recurrent neuron after 50 steps; dark means a large error. Both paths start at the "
        "same point with the same learning rate. Without clipping, a step at the cliff leaves the plot.",
        plot=styled(plot, height=520).update_layout(legend={"bgcolor": "#00224e", "font": {"color": "#ffffff"}}),
    )


CLAIM = Claim(
    id="cliff",
    title="Clipping keeps gradient descent at a cliff",
    statement=r"For $x_t = w \, \sigma(x_{t-1}) + b$, $x_0 = 0.5$ and $E = (\sigma(x_{50}) - 0.7)^2$ the error "
    "surface has a cliff, where a step of gradient descent jumps far away and a clipped step does not.",
    source="Pascanu, Mikolov & Bengio (2013), section 2.3 and Figure 6",
    check=check,
)
