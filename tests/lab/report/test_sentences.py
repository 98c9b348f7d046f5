"""Sentences made from numbers are right for every small count and range: zero, one, equal, empty, all diverged."""

import math
from dataclasses import replace
from itertools import combinations, product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grammar import assert_sentence, broken_rules
from lab_factory import ARMS, make_results, make_task
from steadystep.lab.cost.arms import CostArm
from steadystep.lab.cost.summary import CostSummary, Quartiles
from steadystep.lab.report.cost.report import answer as cost_answer
from steadystep.lab.report.figures import figures
from steadystep.lab.report.headline import claim_text, headline
from steadystep.lab.report.markdown import markdown
from steadystep.lab.report.notes import notes
from steadystep.lab.report.stability.report import _notes as stability_notes
from steadystep.lab.report.stability.report import answer as stability_answer
from steadystep.lab.report.success.report import answer as success_answer
from steadystep.lab.report.timing_words import timing_note, training_mode
from steadystep.lab.report.verdict_words import sentence
from steadystep.lab.stability.sensitivity import Sensitivity
from steadystep.lab.stability.summary import TOLERANCES, ArmStability, Point, State, usable_range
from steadystep.lab.statistics.reported import accuracy_estimate, difference_estimate, share_estimate
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.statistics.summary import ArmSummary, Estimate, Verdict
from steadystep.lab.success.summary import Rate
from steadystep.lab.tasks.task import Claim

BASE = make_results(seeds=2, budgets=(1,))
SUMMARY = summarise(BASE)
FACTORS = (1.0, 1.0001, 1.02, 3.1623, 10.0)

shares = st.sampled_from((0.0, 0.004, 0.27, 0.274, 0.5, 1.0))


@st.composite
def sweeps(draw: st.DrawFn) -> list[ArmStability]:
    """Return one or two optimizers, each with or without a clipped twin, over any grid and with any outcome."""
    arms = []
    for name in draw(st.sampled_from((("SGD",), ("SGD", "Adam")))):
        for clip in draw(st.sampled_from(((None,), (None, "norm"), (None, "norm", "agc")))):
            start, factor = draw(st.sampled_from((1e-3, 1.0))), draw(st.sampled_from(FACTORS[1:]))
            lrs = [start * factor**i for i in range(draw(st.integers(1, 4)))]
            runs = draw(st.integers(1, 4))
            points = []
            for lr in lrs:
                lost = draw(st.integers(0, runs))
                accuracy = accuracy_estimate([0.9] * (runs - lost) + [0.1] * lost)
                states: tuple[State, ...] = ("unstable",) if lost else ("usable", "slow", "unstable")
                state = draw(st.sampled_from(states))
                points.append(Point(lr, runs, lost, 0, share_estimate(lost, runs), accuracy, state))
            arm = f"{name} + {clip}" if clip else name
            arms.append(_arm(arm, name, clip, points, draw(st.sampled_from((-0.1, 0.0, 1e-9, 0.2))), runs))
    return arms


def _arm(arm: str, twin: str, clip: str | None, points: list[Point], change: float, runs: int) -> ArmStability:
    """Return an arm whose range is the same at every tolerance but the largest, at which all it tried is usable."""
    width = 0.05 if runs >= 3 else math.nan
    around = Estimate(change, change - width, change + width)
    usable = usable_range(points)
    ranges = dict.fromkeys(TOLERANCES[:-1], usable)
    ranges[TOLERANCES[-1]] = usable_range([replace(point, state="usable") for point in points])
    sensitive = Sensitivity(Estimate(0.5, 0.5 - width, 0.5 + width), around if clip else None)
    return ArmStability(arm, twin, clip, 1.0, points[0].lr, tuple(points), usable, ranges, sensitive)


@given(sweeps())
def test_the_answer_and_the_notes_of_a_sweep(arms: list[ArmStability]) -> None:
    assert_sentence(stability_answer(arms))
    for note in stability_notes(arms):
        assert_sentence(note)


def test_equal_numbers_get_a_sentence_of_their_own() -> None:
    point = Point(1.0, 10, 4, 0, share_estimate(4, 10), accuracy_estimate([0.9] * 10), "usable")
    twin, clipped = (
        _arm(name, "SGD", clip, [point], 0.0, 10) for name, clip in (("SGD", None), ("SGD + norm", "norm"))
    )
    assert stability_answer([twin, clipped]) == (
        "Clipping (norm) has no certain effect on the learning-rate sensitivity of SGD, 0.500 nats (+0.000 "
        "[−0.050, +0.050]); the usable range is as wide with it as without at every tolerance from 1 to 10 points; as "
        "many runs diverged with it as without: 4 of 10."
    )


@given(st.data(), st.sampled_from(((10,), (10, 20))), st.sampled_from((("lstm",), ("tanh", "lstm"))))
def test_the_answer_of_a_measurement_of_success(data: st.DataObject, lengths: tuple, cells: tuple) -> None:
    runs = data.draw(st.integers(1, 3))
    rates = []
    for cell, arm, length in product(cells, ("SGD", "Adam"), lengths):
        successes, accuracy = data.draw(st.integers(0, runs)), accuracy_estimate([data.draw(shares)] * runs)
        success = share_estimate(successes, runs)
        rates.append(Rate(cell, arm, length, 0.1, None, runs, successes, 0, success, accuracy))
    text = success_answer(rates)
    assert_sentence(text)
    assert ("over all lengths" in text) == (len(lengths) > 1)


@given(st.lists(st.tuples(shares, st.sampled_from((None, -0.1, 0.0, 0.03, 0.0301, 120.0))), min_size=1, max_size=4))
def test_the_answer_of_a_measurement_of_cost(rows: list[tuple[float, float | None]]) -> None:
    one = Quartiles(1.0, 1.0, 1.0)
    summaries = [CostSummary(CostArm("SGD"), None, one, one, Quartiles(0.3, 0.3, 0.3), one, None, 4.0)]
    for i, (part, added) in enumerate(rows):
        arm = CostArm(f"A{i}", clip=None if added is None else "norm")
        time = None if added is None else Quartiles(added, added, added)
        summaries.append(CostSummary(arm, None, one, one, Quartiles(part, part, part), one, time, 4.0))
    text = cost_answer(summaries)
    assert_sentence(text)
    assert "e+" not in text


@st.composite
def judged(draw: st.DrawFn) -> tuple[Verdict, ...]:
    """Return a verdict on every pair of arms, on any number of pairs of seeds."""
    found = []
    for against, arm in combinations([arm.name for arm in ARMS], 2):
        pairs = draw(st.integers(0, 4))
        difference = difference_estimate([draw(st.sampled_from((0.9, 0.91, 0.9001)))] * pairs, [0.9] * pairs)
        word = draw(st.sampled_from(("better", "worse", "equivalent", "undecided"))) if pairs > 1 else "undecided"
        found.append(Verdict(arm, against, difference, 0.5, 0.5, 0.5, 0.01, pairs, word))
    return tuple(found)


@given(judged())
def test_the_headline_and_the_verdicts(verdicts: tuple[Verdict, ...]) -> None:
    assert_sentence(headline(BASE, replace(SUMMARY, verdicts=verdicts)))
    for verdict in verdicts:
        for task in (make_task(), make_task(unlike_paper="it is another network")):
            assert_sentence(f"{sentence(verdict, task)}.")


@given(st.lists(st.sampled_from(("better", "equivalent", "undecided")), min_size=5, max_size=8))
def test_the_headline_of_many_pairs(words: list[str]) -> None:
    verdicts = tuple(
        replace(SUMMARY.verdicts[0], arm=ARMS[i % 3].name, against=ARMS[i % 2].name, verdict=word)
        for i, word in enumerate(words)
    )
    assert_sentence(headline(BASE, replace(SUMMARY, verdicts=verdicts)))


@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 4))
def test_notes_on_times(runs: int, diverged: int, alone: int) -> None:
    finished = runs - min(diverged, runs)
    row = replace(SUMMARY.arms[0], runs=runs, diverged=runs - finished, timed_alone=min(alone, finished or runs))
    for rows in ([row], [row, replace(row, arm="Adam", timed_alone=finished or runs)]):
        if text := timing_note(rows):
            assert_sentence(text.removeprefix(" "))
    records = [*BASE.final["SGD", 1], *BASE.final["Adam", 1]][:runs]
    mixed = [run.model_copy(update={"replicas": 1 if i < alone else 8}) for i, run in enumerate(records)]
    assert broken_rules(training_mode(mixed)) == []


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.92, 0.93, "exceeded"), (0.89, 0.91, "reproduced"), (0.8, 0.89, "not reproduced"), (math.nan, 0.9, "undecided")],
)  # fmt: skip
def test_a_claim_is_compared_in_words(low: float, high: float, word: str) -> None:
    row: ArmSummary = replace(SUMMARY.arms[0], arm="Adam")
    row = replace(row, test_accuracy=replace(row.test_accuracy, mean=0.9, low=low, high=high))
    task = make_task(claims={"Adam": Claim(0.9, 1)})
    assert claim_text(task, row) == f"90% in 1 epoch: {word}"
    assert claim_text(replace(task, unlike_paper="it is deeper"), row) == "90% in 1 epoch: not comparable"


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whole_reports_of_small_studies(data: st.DataObject) -> None:
    """Check every sentence, table, note and caption of studies with few seeds, budgets, arms and finished runs."""
    arms, seeds = ARMS[: data.draw(st.integers(1, 3))], data.draw(st.integers(1, 4))
    diverged = {arm.name: data.draw(st.sets(st.integers(0, seeds - 1))) for arm in arms}
    best = data.draw(st.sampled_from((0.93, 0.999, 1.0)))
    results = make_results(
        arms=arms,
        budgets=data.draw(st.sampled_from(((1,), (1, 2)))),
        seeds=seeds,
        tune_seeds=data.draw(st.integers(1, 2)),
        accuracy={arm.name: best for arm in arms},
        diverged=diverged,
        task=make_task(
            margin=data.draw(st.sampled_from((0.005, 0.01))),
            unlike_paper=data.draw(st.sampled_from(("", "it is another network"))),
        ),
    )
    summary = summarise(results)
    assert_sentence(headline(results, summary))
    for note in notes(results, summary):
        assert_sentence(note)
    for figure in figures(results, summary):
        assert_sentence(figure.caption)
    for line in markdown(results, summary, "steadystep").splitlines():
        if not line.startswith("|"):
            assert not (broken := broken_rules(line.replace("\\", ""))), broken
    few = any("too few" in note for note in notes(results, summary))
    finished = [seeds - len(diverged[arm.name]) for arm in arms]
    assert few == (seeds < 3 or any(number in (1, 2) for number in finished))
    for row in summary.arms:
        for value in (row.test_accuracy, row.val_accuracy, row.divergence_rate, row.test_accuracy_bootstrap):
            assert math.isnan(value.low) or 0 <= value.low <= value.mean <= value.high <= 1
