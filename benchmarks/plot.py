"""`python -m benchmarks.plot`: plot benchmarks/results/steps.json as steps.png in the same folder."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from plotly import graph_objects as go
from plotly.subplots import make_subplots

from benchmarks.__main__ import RESULTS

COLOURS = {
    "steadystep": "#0072b2",
    "steadystep eager": "#7fb8d8",
    "torch fused": "#e69f00",
    "torch foreach": "#d55e00",
    "torch for-loop": "#cc79a7",
    "pytorch-optimizer": "#009e73",
    "optax jit": "#56b4e9",
    "streaming limit": "#808080",
}


def figure() -> go.Figure:
    """Plot the median time of clipping plus step for each model and optimizer on a logarithmic axis."""
    found = json.loads(RESULTS.read_bytes())
    models = found["models"]
    plot = make_subplots(cols=len(models), shared_yaxes=True, subplot_titles=list(models), horizontal_spacing=0.02)
    for column, rows in enumerate(models.values(), start=1):
        for who, colour in COLOURS.items():
            here = {name: times[who]["median_ms"] for name, times in rows.items() if who in times}
            if not here:
                continue
            ours = who == "steadystep"
            plot.add_scatter(
                row=1,
                col=column,
                x=list(here.values()),
                y=list(here),
                name=who,
                legendgroup=who,
                showlegend=column == 1,
                mode="markers",
                marker={
                    "color": colour,
                    "size": 13 if ours else 9,
                    "symbol": "line-ns" if who == "streaming limit" else "diamond" if ours else "circle",
                    "line": {"width": 3 if who == "streaming limit" else 0, "color": colour},
                },
            )
    machine = found["environment"]
    plot.update_xaxes(type="log", title="ms for clip and step", dtick=1, minor={"ticks": "outside"})
    plot.update_yaxes(autorange="reversed")
    plot.update_layout(
        template="plotly_white",
        width=1300,
        height=620,
        title=f"Clip and step: medians of interleaved runs, {machine['processor']}, {machine['threads']} threads, "
        f"{machine['dtype']}",
        legend={"orientation": "h", "y": -0.15},
    )
    return plot


def main() -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("benchmarks.plot: drawing needs a browser: install chromium")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        page = Path(scratch) / "steps.html"
        figure().write_html(page)
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = chromium.new_page(viewport={"width": 1320, "height": 640}, device_scale_factor=1.5)
        tab.goto(page.as_uri())
        tab.wait_for_selector(".js-plotly-plot .main-svg")
        tab.locator(".js-plotly-plot").screenshot(path=RESULTS.with_suffix(".png"))
        chromium.close()
    print(f"written: {RESULTS.with_suffix('.png')}")


if __name__ == "__main__":
    main()
