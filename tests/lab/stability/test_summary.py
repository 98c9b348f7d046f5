"""Check the statistics of synthetic records against values computed by hand."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lab_factory import make_record, make_task, make_trial
from steadystep.lab.report.stability.report import answer, ranges_compared, stability_document
from steadystep.lab.stability.declare import sweep_for
from steadystep.lab.stability.run import SweepResults
from steadystep.lab.stability.summary import points_of, summarise_sweep, top_shift, usable_range
from steadystep.lab.tasks.task import Frequencies
from steadystep.lab.training.outcome import NO_BETTER
from steadystep.lab.training.record import Curve, Record
from steadystep.lab.training.trial import Clip

LRS = (0.001, 0.01, 0.1, 1.0)
TASK = make_task()


def run(
    lr: float, seed: int, accuracy: float | None, reason: str = "the loss is nan at step 7", **fields: Any
) -> Record:
    """Make one record; an accuracy of None means that the run did not finish."""
    trial = make_trial(lr=lr, seed=seed, role="tune", **fields)
    record = make_record(trial, accuracy=accuracy or 0.5, diverged=accuracy is None)
    return record.model_copy(update={"reason": reason} if accuracy is None else {"val_accuracy": accuracy})


def runs(outcomes: Sequence[Sequence[float | None]], **fields: Any) -> list[Record]:
    """Make one record per learning rate of LRS and per seed."""
    return [
        run(lr, seed, accuracy, **fields)
        for lr, tried in zip(LRS, outcomes, strict=True)
        for seed, accuracy in enumerate(tried)
    ]


def test_a_point_counts_shares_and_means() -> None:
    outcomes: list[list[float | None]] = [[0.6, 0.7, 0.65], [0.9] * 3, [0.86, 0.9, 0.88], [None, 0.9, 0.9]]
    points = points_of(runs(outcomes), best=0.01, task=TASK, within=0.05)
    assert [point.diverged for point in points] == [0, 0, 0, 1]
    # Wilson, z = 1.959964: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = 1/3, n = 3.
    assert points[3].divergence.mean == pytest.approx(1 / 3)
    assert points[3].divergence.low == pytest.approx(0.0615, abs=1e-4)
    assert points[3].divergence.high == pytest.approx(0.7923, abs=1e-4)
    # A diverged run counts as a guess; t(2, .975) = 4.302653, s/√n = 0.02 / √3 for 0.86, 0.9 and 0.88.
    assert points[3].accuracy.mean == pytest.approx(1.9 / 3)
    assert points[2].accuracy.mean == pytest.approx(0.88)
    assert points[2].accuracy.high == pytest.approx(0.88 + 4.302653 * 0.02 / 3**0.5, abs=1e-6)


def test_a_usable_rate_finishes_on_every_seed_and_ends_near_the_best() -> None:
    # 0.65 is too far below 0.9, 0.85 is exactly within 0.05, and one diverged run of two makes the rate unstable.
    points = points_of(runs([[0.65, 0.65], [0.85, 0.85], [0.9, 0.9], [None, 0.9]]), best=0.1, task=TASK, within=0.05)
    assert [point.state for point in points] == ["slow", "usable", "usable", "unstable"]
    usable = usable_range(points)
    assert usable and (usable.low, usable.high, usable.open_low, usable.open_high, usable.gaps) == (
        0.01,
        0.1,
        False,
        False,
        0,
    )
    assert usable.decades == pytest.approx(1.0)


def test_a_range_may_have_gaps_and_open_ends_or_be_empty() -> None:
    gap = usable_range(points_of(runs([[0.9], [None], [0.88], [0.9]]), best=0.001, task=TASK, within=0.05))
    assert gap and (gap.open_low, gap.open_high, gap.gaps) == (True, True, 1) and gap.decades == pytest.approx(3.0)
    assert usable_range(points_of(runs([[None]] * 4), best=0.001, task=TASK, within=0.05)) is None


def test_no_better_than_guessing_is_slow_below_the_best_and_diverged_above() -> None:
    lost = runs([[None], [0.9], [None], [None]], reason=f"{NO_BETTER}: training loss 2.3")
    points = points_of(lost, best=0.01, task=TASK, within=0.05)
    assert [(point.slow, point.diverged) for point in points] == [(1, 0), (0, 0), (0, 1), (0, 1)]
    exploded = points_of(runs([[None], [0.9], [None], [None]]), best=0.01, task=TASK, within=0.05)
    assert [(point.slow, point.diverged) for point in exploded] == [(0, 1), (0, 0), (0, 1), (0, 1)]


def test_with_unequal_class_frequencies_a_run_must_learn_more_than_the_frequencies() -> None:
    """Check that both losses of a record count.

    At lr 0.01 only the training loss and at 0.1 only the validation loss is better than a guess; elsewhere neither is.
    """
    words = replace(TASK, classes=10_000, frequencies=Frequencies(loss=6.0, accuracy=0.06))
    losses = [(6.1, 6.0), (5.0, 6.2), (6.2, 5.9), (6.1, 5.95)]
    records = [
        record.model_copy(
            update={"curve": Curve(train_loss=(9.0, train), val_loss=(7.0, val), val_accuracy=(0.06,) * 2)}
        )
        for record, (train, val) in zip(runs([[0.06], [0.1], [0.1], [0.06]]), losses, strict=True)
    ]
    points = points_of(records, best=0.01, task=words, within=0.05)
    assert [(point.slow, point.diverged) for point in points] == [(1, 0), (0, 0), (0, 0), (0, 1)]
    assert [point.state for point in points] == ["slow", "usable", "usable", "unstable"]
    lost = points_of(runs([[None], [0.1], [0.1], [0.1]]), best=0.01, task=words, within=0.05)
    assert lost[0].accuracy.mean == 0.06


def swept(
    unclipped: list[list[float | None]], clipped: list[list[float | None]], title: str = "Made up"
) -> SweepResults:
    task = replace(make_task(), title=title)
    sweep = sweep_for(task, optimizers=["Adam"], lrs=LRS, seeds=len(unclipped[0]))
    records = {"Adam": runs(unclipped), "Adam + norm": runs(clipped, clip=Clip(kind="norm", threshold=0.5))}
    best = {name: max(rows, key=lambda row: row.val_accuracy or 0).trial.lr for name, rows in records.items()}
    return SweepResults(sweep, task, records, best)


NARROW: list[list[float | None]] = [[0.6, 0.6], [0.9, 0.92], [None, 0.9], [None, None]]
WIDE: list[list[float | None]] = [[0.6, 0.6], [0.9, 0.92], [0.91, 0.9], [None, 0.1]]


def test_the_answer_states_the_effect_of_clipping() -> None:
    arms = summarise_sweep(swept(NARROW, WIDE))
    assert top_shift(arms[1], arms[0]) == pytest.approx(1.0)
    assert answer(arms) == (
        "Clipping (norm) takes the learning-rate sensitivity of Adam from 0.987 to 0.730 nats (too few seeds for an "
        "interval); the usable range is wider with it at every tolerance from 1 to 10 points; 1 instead of 3 of 8 runs "
        "diverged."
    )
    assert arms[1].optimizer == "Adam" and arms[1].threshold == 0.5


def test_the_answer_says_when_no_run_diverged() -> None:
    calm: list[list[float | None]] = [[0.6], [0.9], [0.9], [0.6]]
    text = answer(summarise_sweep(swept(calm, calm)))
    assert text.endswith("; none of 4 runs diverged with it, and none without.")
    assert "the usable range is as wide with it as without at every tolerance from 1 to 10 points" in text


def test_a_comparison_of_ranges_names_the_tolerances_at_which_it_holds() -> None:
    """Within 2 points, clipping adds a learning rate; within 10, the unclipped arm has as many."""
    before: list[list[float | None]] = [[0.5], [0.9], [0.82], [0.1]]
    after: list[list[float | None]] = [[0.5], [0.9], [0.885], [0.1]]
    twin, clipped = summarise_sweep(swept(before, after))
    assert ranges_compared(clipped, twin) == (
        "the usable range is wider with it at a tolerance of 2 and 5, as wide at 1 and 10 points"
    )
    assert ranges_compared(twin, clipped).startswith("the usable range is narrower with it at a tolerance of 2 and 5")


def test_an_arm_without_a_usable_rate_has_the_narrowest_range() -> None:
    lost: list[list[float | None]] = [[None]] * 4
    found: list[list[float | None]] = [[None], [0.9], [None], [None]]
    nothing = summarise_sweep(swept(lost, found))
    assert "the usable range is wider with it at every tolerance" in answer(nothing)
    assert nothing[0].usable is None and math.isnan(top_shift(nothing[1], nothing[0]))


def test_the_notes_mention_gaps_open_ends_and_the_grid() -> None:
    notes = " ".join(stability_document(swept([[0.9], [None], [0.9], [None]], [[0.6], [0.9], [0.9], [0.9]]), "c").notes)
    assert "the grid's step, 1 decade," in notes
    assert "Adam: 1 learning rate between the ends" in notes
    assert "range of Adam + norm reaches the grid's largest" in notes
