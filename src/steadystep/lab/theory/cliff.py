"""The cliff (Pascanu, Mikolov & Bengio 2013, section 2.3 and Figure 6): why clipping."""

import math
from functools import partial

import numpy as np
import torch
from numba import njit
from plotly import graph_objects as go

from steadystep.clipping import ClipNorm
from steadystep.lab.figure import Figure, styled
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Tell
from steadystep.optimizers import SGD

STEPS = 1_000
LR, MAX_NORM = 0.1, 0.5
START = (6.0, -2.75)
STARTS = [(w, b) for w in (5.0, 5.5, 6.0, 6.5) for b in (-3.0, -2.75, -2.5, -2.25)]


@njit
def error(w, b):
    """E = (sigma(x_50) - 0.7)^2 with x_t = w sigma(x_{t-1}) + b and x_0 = 0.5; and its gradient."""
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
    """Errors and gradient norms over a grid, rows of b."""
    errors, norms = np.empty((len(bs), len(ws))), np.empty((len(bs), len(ws)))
    for i in range(len(bs)):
        for j in range(len(ws)):
            value, dw, db = error(ws[j], bs[i])
            errors[i, j], norms[i, j] = value, math.hypot(dw, db)
    return errors, norms


def paths(clip: ClipNorm | None, tell: Tell) -> np.ndarray:
    """(steps + 1, starts, 2): gradient descent by the project's SGD, each start a tensor with a norm of its own."""
    weights = [torch.tensor(start, dtype=torch.float64, requires_grad=True) for start in STARTS]
    optimizer = SGD(weights, lr=LR, clip=clip)
    places = np.empty((STEPS + 1, len(STARTS), 2))
    places[0] = STARTS
    for k in range(STEPS):
        for weight, (w, b) in zip(weights, places[k], strict=True):
            weight.grad = torch.tensor(error(w, b)[1:], dtype=torch.float64)
        optimizer.step()
        places[k + 1] = torch.stack(weights).detach().numpy()
        tell(k / STEPS)
    return places


def check(tell: Tell) -> Evidence:
    ws, bs = np.linspace(4.0, 7.0, 161), np.linspace(-3.5, -1.5, 161)
    errors, norms = surface(ws, bs)
    steepness = float(norms.max() / np.median(norms))
    plain = paths(None, lambda done: tell(done / 2))
    clipped = paths(ClipNorm(MAX_NORM, scope="parameter"), lambda done: tell(0.5 + done / 2))
    arrived = [sum(error(w, b)[0] < 1e-3 for w, b in places[-1]) for places in (plain, clipped)]
    jumps = [float(np.linalg.norm(np.diff(places, axis=0), axis=2).max()) for places in (plain, clipped)]
    shown = STARTS.index(START)
    return Evidence(
        (
            Finding(
                f"Of {len(STARTS)} starts, {arrived[0]} arrive (E < 10⁻³) without clipping and {arrived[1]} "
                f"with the norm clipped at {MAX_NORM:g}, at the same learning rate {LR:g}",
                arrived[1] == len(STARTS) > 2 * arrived[0],
            ),
            Finding(
                f"The surface has a cliff: its steepest gradient on the grid is {steepness:.1e} times the median one",
                steepness > 1e3,
            ),
            Finding(
                f"One unclipped step goes as far as {jumps[0]:.1f}; a clipped one at most {jumps[1]:.3f}, "
                "the learning rate times the threshold",
                jumps[0] > 10 and jumps[1] <= LR * MAX_NORM * (1 + 1e-12),
            ),
        ),
        figure=partial(_figure, ws, bs, errors, plain[:, shown], clipped[:, shown]),
    )


def _figure(ws: np.ndarray, bs: np.ndarray, errors: np.ndarray, plain: np.ndarray, clipped: np.ndarray) -> Figure:
    plot = go.Figure()
    plot.add_heatmap(
        x=ws, y=bs, z=np.log10(np.maximum(errors, 1e-6)), colorscale="Cividis", reversescale=True, zsmooth="best",
        hovertemplate="w %{x:.2f}, b %{y:.2f}: E = 10^%{z:.1f}<extra></extra>",
        colorbar={"title": {"text": "log₁₀ E"}, "thickness": 12, "len": 0.9, "outlinewidth": 0},
    )  # fmt: skip
    lines = (("without clipping", plain, "#ffffff", "x"), ("clipped at 0.5", clipped, "#ff9f40", "circle"))
    for name, places, color, symbol in lines:
        # The thrown path is drawn until it has left the picture, the other thinned: its steps lie close.
        inside = (places[:, 0] > ws[0]) & (places[:, 0] < ws[-1]) & (places[:, 1] > bs[0]) & (places[:, 1] < bs[-1])
        until = len(places) if inside.all() else int(np.argmin(inside)) + 1
        shown = places[:until] if until < 200 else places[np.unique(np.geomspace(1, until, 120).astype(int)) - 1]
        plot.add_scatter(
            x=shown[:, 0], y=shown[:, 1], name=name, mode="lines+markers", hovertemplate="w %{x:.2f}, b %{y:.2f}",
            line={"color": color, "width": 2}, marker={"symbol": symbol, "size": 6, "line": {"width": 0}},
        )  # fmt: skip
    plot.update_xaxes(title="w", range=[ws[0], ws[-1]], showgrid=False)
    plot.update_yaxes(title="b", range=[bs[0], bs[-1]], showgrid=False)
    return Figure(
        id="cliff",
        title="Gradient descent at a cliff",
        caption="The error of one recurrent neuron after 50 steps. Both paths start at the same point with the same "
        "learning rate; dark is a large error. Without clipping a step at the cliff leaves the picture.",
        plot=styled(plot, height=520).update_layout(legend={"bgcolor": "#00224e", "font": {"color": "#ffffff"}}),
    )


CLAIM = Claim(
    id="cliff",
    title="Clipping keeps gradient descent at a cliff",
    statement=r"For $x_t = w \, \sigma(x_{t-1}) + b$, $x_0 = 0.5$ and $E = (\sigma(x_{50}) - 0.7)^2$ the error "
    r"surface has "
    "a cliff, from which a step of gradient descent is thrown far away and a clipped step is not.",
    source="Pascanu, Mikolov & Bengio (2013), section 2.3 and Figure 6",
    check=check,
)
