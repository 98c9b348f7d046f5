"""Draw a function of two variables as colours, with trace types that the plotly.js bundle of the pages has."""

import base64
import io

import numpy as np
from PIL import Image
from plotly import graph_objects as go
from plotly.colors import get_colorscale, sample_colorscale, unlabel_rgb

COLORS = 256
"""The number of colours in the picture."""


def add_surface(plot: go.Figure, x: np.ndarray, y: np.ndarray, z: np.ndarray, *, scale: str, title: str, hover: str):
    """Draw `z` over an even grid as a picture, with a colour bar, and show values where the pointer is.

    The values at the pointer come from invisible markers, on at most every fourth line of the grid: a picture has none.

    Args:
        plot: the figure, whose axes get the picture below all traces.
        x: the positions of the columns of `z`, ascending and equidistant.
        y: the positions of the rows of `z`, ascending and equidistant.
        z: the values, all finite.
        scale: the name of a Plotly colour scale.
        title: the title of the colour bar.
        hover: the text at the pointer, in which %{x}, %{y} and %{marker.color} are replaced.
    """
    low, high = float(z.min()), float(z.max())
    width, height = x[1] - x[0], y[1] - y[0]  # of a cell, whose centre is a point of the grid
    plot.add_layout_image(
        source=_picture((z - low) / (high - low), scale), xref="x", yref="y", x=x[0] - width / 2, y=y[-1] + height / 2,
        sizex=len(x) * width, sizey=len(y) * height, sizing="stretch", layer="below",
    )  # fmt: skip
    columns, rows = np.meshgrid(x[::4], y[::4])
    plot.add_scatter(
        x=columns.ravel(), y=rows.ravel(), mode="markers", showlegend=False, hovertemplate=hover,
        marker={
            "color": z[::4, ::4].ravel().round(2), "opacity": 0, "colorscale": scale, "cmin": low, "cmax": high,
            "colorbar": {"title": {"text": title}, "thickness": 12, "len": 0.9, "outlinewidth": 0},
        },
    )  # fmt: skip


def _picture(values: np.ndarray, scale: str) -> str:
    """Return values from 0 to 1 as the address of an embedded PNG picture, the first row at the bottom."""
    colors = sample_colorscale(get_colorscale(scale), np.linspace(0, 1, COLORS).tolist())
    palette = np.array([unlabel_rgb(color) for color in colors]).round().astype(np.uint8)
    picture = Image.fromarray((values[::-1] * (COLORS - 1)).round().astype(np.uint8), mode="P")
    picture.putpalette(palette.tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
