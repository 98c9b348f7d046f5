import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from plotly.io import to_json

from lab_factory import ARMS, make_results, make_task
from steadystep.lab.report.figures import Figure, figures
from steadystep.lab.report.figures.accuracy_axis import AccuracyAxis
from steadystep.lab.report.figures.arm_style import COLORS, arm_styles
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.study.records import Results
from steadystep.lab.study.spec import Arm

SCRIPT = "<script>alert(1)</script>"


def figures_by_id(results: Results) -> dict[str, Figure]:
    return {figure.id: figure for figure in figures(results, summarise(results))}


def traces(figure: Figure) -> list[Any]:
    return list(figure.plot.data)


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("paper", ["#ffffff", "#14171b"])
def test_every_colour_has_contrast_on_light_and_dark(color: str, paper: str) -> None:
    dark, light = sorted((luminance(color), luminance(paper)))
    assert (light + 0.05) / (dark + 0.05) >= 3


def test_a_study_has_six_figures() -> None:
    assert list(figures_by_id(make_results())) == [
        "paired-differences",
        "accuracy-curves",
        "budgets",
        "learning-rates",
        "gradient-norms",
        "step-cost",
    ]


def test_an_arm_has_the_same_style_in_every_figure() -> None:
    results = make_results()
    style, by_id = arm_styles(results)["Adam"], figures_by_id(results)
    for name in ("accuracy-curves", "budgets", "learning-rates", "gradient-norms"):
        lines = [trace for trace in traces(by_id[name]) if trace.name == "Adam"]
        assert lines
        assert {(line.line.color, line.line.dash) for line in lines} == {(style.color, style.dash)}


def test_thirty_arms_have_distinct_styles() -> None:
    arms = [Arm(name=f"A{i}", optimizer="Adam", options={"weight_decay": 0.01 * i}, lrs=(0.1,)) for i in range(30)]
    styles = arm_styles(make_results(arms=arms, accuracy={arm.name: 0.9 for arm in arms}, seeds=1, budgets=(1,)))
    assert len({(style.color, style.dash) for style in styles.values()}) == 30


def test_curves_are_means_of_finished_runs() -> None:
    results = make_results(diverged={"Adam": (0,)})
    (line,) = [trace for trace in traces(figures_by_id(results)["accuracy-curves"]) if trace.name == "Adam"]
    finished = [run.curve.val_accuracy for run in results.final["Adam", 4] if run.outcome == "finished"]
    assert len(finished) == 9
    for i in range(4):
        assert line.customdata[i][0] == pytest.approx(math.fsum(curve[i] for curve in finished) / 9)
        assert line.y[i] == pytest.approx(1 - line.customdata[i][0])


def test_a_bad_epoch_does_not_widen_the_band_beyond_the_runs() -> None:
    results = make_results(seeds=2, budgets=(4,))
    first, second = results.final["Adam", 4]
    bad = first.curve.model_copy(update={"val_accuracy": (0.8, 0.1, 0.94, 0.95)})
    runs = [first.model_copy(update={"curve": bad}), second]
    spoilt = replace(results, final={**results.final, ("Adam", 4): runs})
    figure = figures_by_id(spoilt)["accuracy-curves"]
    place = next(i for i, trace in enumerate(traces(figure)) if trace.name == "Adam")
    band = traces(figure)[place - 1]
    highest, lowest = band.y[:4], band.y[:3:-1]
    for epoch, (top, bottom) in enumerate(zip(highest, lowest, strict=True)):
        values = [run.curve.val_accuracy[epoch] for run in runs]
        assert (1 - top, 1 - bottom) == pytest.approx((max(values), min(values)))


def test_budgets_count_a_diverged_run_as_a_guess() -> None:
    results = make_results(diverged={"Adam": (0,)})
    (line,) = [trace for trace in traces(figures_by_id(results)["budgets"]) if trace.name == "Adam"]
    accuracies = [0.1 if run.val_accuracy is None else run.val_accuracy for run in results.final["Adam", 4]]
    assert line.customdata[2][1] == pytest.approx(sum(accuracies) / 10)
    assert line.customdata[2][3] == 1


def test_learning_rates_have_a_line_per_threshold_and_show_divergence() -> None:
    every = traces(figures_by_id(make_results())["learning-rates"])
    assert [t.name for t in every if t.showlegend is None] == [
        "SGD",
        "Adam",
        "Adam + clip, threshold 1",
        "Adam + clip, threshold 2.16",
    ]
    below = next(t for t in every if t.name == "SGD" and t.showlegend is False)
    assert list(below.y) == [0, 0, 0, 0, 0, 1]
    above = next(t for t in every if t.name == "SGD" and t.showlegend is None)
    assert above.y[-1] is None


def test_differences_are_paired_by_seed() -> None:
    results = make_results(diverged={"Adam": (2,)})
    seeds, mean = traces(figures_by_id(results)["paired-differences"])[:2]
    summary = summarise(results)
    assert list(seeds.customdata) == list(range(10))
    assert seeds.marker.symbol[2] == "x"
    assert sum(seeds.x) / 10 == pytest.approx(mean.x[0]) == pytest.approx(100 * summary.verdicts[0].difference.mean)


def test_names_are_escaped_for_plotly() -> None:
    results = make_results(
        arms=[
            Arm(name=SCRIPT, optimizer="SGD", lrs=(0.1, 0.2, 0.3)),
            Arm(name="%{y}", optimizer="Adam", lrs=(0.1, 0.2, 0.3)),
        ],
        accuracy={SCRIPT: 0.9, "%{y}": 0.91},
    )
    for figure in figures_by_id(results).values():
        text = to_json(figure.plot) or ""
        assert "<script" not in text.replace("\\u003c", "<")
        assert "%{y}</b>" not in text.replace("\\u003c", "<")


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_results(arms=ARMS[:1], seeds=1, budgets=(1,)),
        lambda: make_results(arms=ARMS[:2], seeds=2, budgets=(1,), diverged={"SGD": (0, 1), "Adam": (0, 1)}),
        lambda: make_results(
            accuracy={"SGD": 1.0, "Adam": 1.1, "Adam + clip": 1.1}, task=make_task(target_accuracy=1.0)
        ),
        lambda: make_results(budgets=(300,), seeds=2),
    ],
    ids=["one run", "all diverged", "perfect", "long"],
)
def test_any_study_can_be_drawn(make: Callable[[], Results]) -> None:
    for figure in figures_by_id(make()).values():
        parsed = json.loads(to_json(figure.plot) or "")
        assert parsed["data"]
        assert figure.caption.endswith(".")


def test_the_accuracy_axis_contains_all_accuracies() -> None:
    for accuracies in ([0.1, 0.99], [0.991, 0.9915], [1.0], [1.0, 0.5], [], [math.nan], [-0.2, 0.9]):
        axis = AccuracyAxis(accuracies)
        layout = axis.layout("accuracy")
        bottom, top = layout["range"]
        assert bottom > top, "better is up"
        assert layout["tickvals"]
        for accuracy in accuracies:
            if 0 <= accuracy <= 1:
                assert top <= math.log10(axis.place(accuracy)) <= bottom
