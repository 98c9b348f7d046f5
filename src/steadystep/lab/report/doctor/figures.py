"""The figures of a diagnosis: loss and gradient norm over the steps, and the norms of each tensor."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from steadystep.diagnosis.result import Diagnosis
from steadystep.lab.figure import COLORS, NEUTRAL, Figure, styled
from steadystep.lab.report.printable import printable
from steadystep.recorder.recording import Recording

ROWS = 40
"""Tensors that the heat map shows at most: those that change most."""
STEPS = 200
"""Steps that it shows at most: the last ones."""
ROW = 18


def timeline(diagnosis: Diagnosis) -> Figure:
    """Draw the loss and the norm of the gradients of each step, and the step of the trouble."""
    plot = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.07)
    for row, name, values in ((1, "loss", diagnosis.losses), (2, "gradient norm", diagnosis.norms)):
        plot.add_scatter(
            x=list(range(len(values))),
            y=[value if math.isfinite(value) else None for value in values],
            mode="lines" if len(values) > 40 else "lines+markers",
            name=name,
            line={"color": COLORS[row - 1]},
            hovertemplate="%{y:.4g}",
            row=row,
            col=1,
        )
        plot.update_yaxes(title=name, row=row, col=1, **_log(values))
    if diagnosis.step is not None:
        plot.add_vline(x=diagnosis.step, line={"color": NEUTRAL, "dash": "dash"})
        plot.add_annotation(
            text=f"step {diagnosis.step}",
            x=diagnosis.step,
            y=1,
            yref="paper",
            showarrow=False,
            xshift=4,
            xanchor="left",
        )
    plot.update_xaxes(title="step", row=2, col=1)
    caption = "Loss and norm of the gradients that the optimizer was given; gaps are values that are not finite."
    return Figure("loss-and-norms", "Timeline", caption, styled(plot, height=420))


def heat_map(recording: Recording) -> Figure | None:
    """Draw the norm of each tensor's gradient in each step, against its median."""
    norms = recording.gradient[-STEPS:].astype(np.float64)
    if norms.size == 0 or not np.isfinite(norms).any():
        return None
    usual = np.array(
        [
            np.median(column[np.isfinite(column) & (column > 0)]) if ((column > 0) & np.isfinite(column)).any() else 1.0
            for column in norms.T
        ]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log10(norms / usual)
    ratio[~np.isfinite(ratio)] = np.nan
    spread = [np.ptp(column[~np.isnan(column)]) if (~np.isnan(column)).any() else 0.0 for column in ratio.T]
    chosen = sorted(sorted(range(len(spread)), key=lambda place: -spread[place])[:ROWS])
    cells = [(row, place) for row in range(len(ratio)) for place in range(len(chosen))]
    cells = [(row, place) for row, place in cells if not math.isnan(ratio[row, chosen[place]])]
    steps = recording.steps[-STEPS:].tolist()
    plot = go.Figure(
        go.Bar(  # a cell each: the bundled part of Plotly draws bars and lines
            x=[steps[row] for row, _ in cells],
            y=[0.9] * len(cells),
            base=[place + 0.05 for _, place in cells],
            width=1,
            marker={
                "color": [round(float(ratio[row, chosen[place]]), 3) for row, place in cells],
                "cmin": -2,
                "cmid": 0,
                "cmax": 2,
                "colorscale": [[0, "#0072b2"], [0.5, "#d9d9d9"], [1, "#d55e00"]],
                "colorbar": {
                    "title": {"text": "times the<br>median"},
                    "tickvals": [-2, -1, 0, 1, 2],
                    "ticktext": ["1/100", "1/10", "1", "10", "100"],
                },
                "line": {"width": 0},
            },
            hovertext=[
                f"{printable(recording.names[chosen[place]])}, step {steps[row]}: {norms[row, chosen[place]]:.3g}"
                for row, place in cells
            ],
            hoverinfo="text",
            showlegend=False,
        )
    )
    plot.update_yaxes(
        tickvals=[place + 0.5 for place in range(len(chosen))],
        ticktext=[printable(recording.names[place]) for place in chosen],
        range=[len(chosen), 0],
        showgrid=False,
    )
    plot.update_xaxes(title="step")
    left_out = len(spread) - len(chosen)
    caption = "Norm of each gradient against its median; empty cells are not finite or were not measured."
    if left_out:
        caption += f" {left_out} tensors that change less are left out."
    return Figure(
        "tensor-norms", "Gradient norms of the tensors", caption, styled(plot, height=140 + ROW * len(chosen))
    )


def _log(values: Sequence[float]) -> dict[str, Any]:
    finite = [value for value in values if math.isfinite(value)]
    spans = bool(finite) and min(finite) > 0 and max(finite) > 20 * min(finite)
    return {"type": "log", "exponentformat": "power"} if spans else {}
