"""The figure of gradient norms before and after clipping, and of the clip rate."""

import math
from collections.abc import Sequence
from itertools import zip_longest
from statistics import fmean, median
from typing import Any, Literal

from plotly.subplots import make_subplots

from steadystep.lab.figure import Figure, styled
from steadystep.lab.report.cells import setting
from steadystep.lab.report.figures.arm_style import arm_styles
from steadystep.lab.report.figures.figure import epoch_axis
from steadystep.lab.report.figures.log_ticks import log_ticks
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results
from steadystep.lab.training.record import Record

Series = Literal["norm_before", "norm_after", "clip_rate"]


def gradient_norms(results: Results, _: Summary) -> Figure | None:
    """Draw the gradient norms, also after clipping for arms that clip, and below them the clip rate, if any."""
    clipped = {arm.name for arm in results.study.arms if arm.clip}
    plot = (
        make_subplots(rows=2, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.06)
        if clipped
        else make_subplots()
    )
    norms: list[list[float | None]] = []
    for arm, style in arm_styles(results).items():
        runs = results.final[arm, results.study.epochs]
        before, after, rate = (_over_runs(runs, series) for series in ("norm_before", "norm_after", "clip_rate"))
        norms += [before, after]
        epochs = list(range(1, len(before) + 1))
        line = {"x": epochs, "mode": "lines+markers" if len(epochs) <= 30 else "lines"}
        if arm in clipped:
            plot.add_scatter(
                **line,
                y=before,
                name=f"{style.label}, before clipping",
                line=style.line | {"width": 1},
                marker=style.marker | {"symbol": f"{style.symbol}-open", "size": 6},
                hovertemplate="%{y:.3g}",
                row=1,
                col=1,
            )
        plot.add_scatter(
            **line,
            y=after,
            name=f"{style.label}, after clipping" if arm in clipped else style.label,
            line=style.line,
            marker=style.marker | {"size": 6},
            hovertemplate="%{y:.3g}",
            row=1,
            col=1,
        )
        if arm in clipped:
            plot.add_scatter(
                **line,
                y=rate,
                name=style.label,
                line=style.line,
                marker=style.marker | {"size": 6},
                showlegend=False,
                hovertemplate="%{y:.1%} of steps",
                row=2,
                col=1,
            )
    plot.update_xaxes(epoch_axis(results.study.epochs))
    plot.update_xaxes(title="epoch", row=2 if clipped else 1)
    plot.update_yaxes(_norm_axis([norm for trace in norms for norm in trace if norm]), row=1)
    if clipped:
        plot.update_yaxes(title="clipped steps", tickformat=".0%", rangemode="tozero", row=2)
    plot.update_layout(hovermode="x unified")
    return Figure(
        id="gradient-norms",
        title="Gradient norms",
        caption="Median over runs of each epoch's median gradient norm, as measured and, for clipped arms, after "
        "clipping. "
        + (
            "Below: the clip rate, the share of clipped steps, mean over runs. Near 0% clipping does nothing; near "
            "100% it normalises every step."
            if clipped
            else "No arm of this study clips."
        ),
        plot=styled(plot, height=560 if clipped else 420),
    )


def _norm_axis(norms: Sequence[float]) -> dict[str, Any]:
    low, high = min(norms, default=1.0) / 1.1, max(norms, default=1.0) * 1.1
    ticks = log_ticks(low, high)
    return {
        "title": "gradient norm (log scale)",
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [setting(tick) for tick in ticks],
    }


def _over_runs(runs: Sequence[Record], series: Series) -> list[float | None]:
    """Return the mean (clip rate) or median (norms) of the runs' finite values at each epoch, or None without any."""
    average = fmean if series == "clip_rate" else median
    by_epoch = zip_longest(*(getattr(run.curve, series) for run in runs), fillvalue=float("nan"))
    finite = ([value for value in values if math.isfinite(value)] for values in by_epoch)
    return [average(values) if values else None for values in finite]
