"""The estimate of the time left, on a clock that the tests set."""

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from lab_factory import make_record, make_trial
from steadystep.lab.progress.observers import PlainObserver, RichObserver, TimeLeftColumn
from steadystep.lab.progress.time_left import TOGETHER, WINDOW, TimeLeft, duration
from steadystep.lab.study.spec import Study
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.training.trial import Trial


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def train(time_left: TimeLeft, clock: Clock, trial: Trial, epochs: int, seconds: float, first: int = 1) -> None:
    """Report epochs of a trial, each `seconds` after the one before."""
    for epoch in range(first, first + epochs):
        clock.now += seconds
        time_left.report_epoch(trial, epoch)


def test_there_is_no_estimate_before_two_reports_after_the_first_work() -> None:
    clock = Clock()
    time_left = TimeLeft(100, clock)
    trial = make_trial(epochs=50)
    time_left.start_stage()
    assert time_left.seconds() is None
    clock.now += 30.0  # the start of the workers
    for epoch in (1, 2):
        train(time_left, clock, trial, 1, 2.0, first=epoch)
        assert time_left.seconds() is None
    train(time_left, clock, trial, 1, 2.0, first=3)
    assert time_left.seconds() == pytest.approx(97 * 2.0)


@given(start=st.floats(0, 1e4), seconds=st.floats(0.3, 1e3), epochs=st.integers(4, 60), more=st.integers(0, 10_000))
def test_start_up_and_compilation_are_left_out(start: float, seconds: float, epochs: int, more: int) -> None:
    clock = Clock()
    time_left = TimeLeft(epochs + more, clock)
    time_left.start_stage()
    clock.now += start
    train(time_left, clock, make_trial(epochs=epochs + more), epochs, seconds)
    assert time_left.seconds() == pytest.approx(more * seconds, rel=1e-6, abs=1e-6)


def test_another_stage_is_measured_anew() -> None:
    clock = Clock()
    time_left = TimeLeft(60, clock)
    time_left.start_stage()
    train(time_left, clock, make_trial(epochs=20), 20, 10.0)
    time_left.start_stage()
    assert time_left.seconds() is None
    train(time_left, clock, make_trial(epochs=20, seed=1), 20, 1.0)
    assert time_left.seconds() == pytest.approx(20 * 1.0)


def test_the_rate_is_the_recent_one() -> None:
    clock = Clock()
    time_left = TimeLeft(1000, clock)
    train(time_left, clock, make_trial(epochs=500), 30, 10.0)
    train(time_left, clock, make_trial(epochs=500, seed=1), int(WINDOW) + 2, 1.0)
    assert time_left.seconds() == pytest.approx((1000 - time_left.done) * 1.0)


@given(replicas=st.integers(1, 64), rounds=st.integers(3, 12), seconds=st.floats(1.0, 100.0), spread=st.floats(0, 0.2))
def test_trials_that_train_side_by_side_report_at_once(
    replicas: int, rounds: int, seconds: float, spread: float
) -> None:
    """The reports of one round take `spread` seconds, which says nothing about the time of an epoch."""
    clock = Clock()
    trials = [make_trial(epochs=20, seed=seed) for seed in range(replicas)]
    time_left = TimeLeft(20 * replicas, clock)
    assert spread < TOGETHER
    for epoch in range(1, rounds + 1):
        clock.now += seconds - spread
        for trial in trials:
            time_left.report_epoch(trial, epoch)
            clock.now += spread / replicas
        if epoch < 3:
            assert time_left.seconds() is None
    assert time_left.seconds() == pytest.approx((20 - rounds) * seconds, abs=2 * TOGETHER)


def test_a_diverged_trial_counts_for_what_it_ran_and_shrinks_the_rest() -> None:
    clock = Clock()
    time_left = TimeLeft(40, clock)
    train(time_left, clock, make_trial(epochs=10), 5, 3.0)
    diverged = make_record(make_trial(epochs=30, seed=1), diverged=True)
    trained = len(diverged.curve.train_loss)
    time_left.finish(diverged)
    assert (time_left.done, time_left.total) == (5 + trained, 10 + trained)
    assert time_left.seconds() == pytest.approx(5 * 3.0)
    time_left.finish(diverged)  # a batch that resumes from a checkpoint records it once more
    assert (time_left.done, time_left.total) == (5 + trained, 10 + trained)


def test_stored_records_are_done_and_do_not_change_the_rate() -> None:
    clock = Clock()
    time_left = TimeLeft(30, clock)
    time_left.start_stage()
    for seed in range(2):
        time_left.finish(make_record(make_trial(epochs=10, seed=seed)))
    assert time_left.done == 20 and time_left.seconds() is None
    train(time_left, clock, make_trial(epochs=10, seed=2), 5, 2.0)
    assert time_left.seconds() == pytest.approx(5 * 2.0)


def test_a_resumed_trial_counts_its_earlier_epochs_as_done_but_not_as_fast() -> None:
    clock = Clock()
    time_left = TimeLeft(100, clock)
    train(time_left, clock, make_trial(epochs=100), 4, 5.0, first=51)
    assert time_left.done == 54
    assert time_left.seconds() == pytest.approx(46 * 5.0)


@given(waited=st.floats(0, 1e5))
def test_the_estimate_counts_down_but_never_below_what_is_left_after_the_next_report(waited: float) -> None:
    clock = Clock()
    time_left = TimeLeft(10, clock)
    train(time_left, clock, make_trial(epochs=10), 5, 4.0)
    clock.now += waited
    assert time_left.seconds() == pytest.approx(20.0 - min(waited, 4.0))


@given(st.floats(0, 1e8))
def test_durations_have_two_units_at_most(seconds: float) -> None:
    text = duration(seconds)
    assert len(text.split()) in (2, 4) and text.split()[1] in ("s", "min", "h", "day", "days")
    units = {"s": 1, "min": 60, "h": 3600, "day": 86400, "days": 86400}
    parts = text.replace(",", "").split()
    shown = sum(int(value) * units[name] for value, name in zip(parts[::2], parts[1::2], strict=True))
    assert math.isclose(shown, seconds, abs_tol=0.5 if seconds < 3600 else 31 if seconds < 86370 else 1801)


def test_a_log_has_minutes_and_seconds_once_they_are_known() -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), width=80)
    time_left = TimeLeft(103, clock)
    observer = PlainObserver(time_left, console, clock)
    trial = make_trial(epochs=103)
    observer.stage_started("tuning", 1, 100)
    observer.trial_started(trial)
    for epoch in (1, 2, 3):
        clock.now += 6.0
        observer.trial_progress(trial, epoch, 103, {})
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "tuning: 1 trial",
        "tuning: 1 of 103 epochs",
        "tuning: 2 of 103 epochs",
        "tuning: 3 of 103 epochs, about 10 min 0 s left",
    ]


def test_the_bars_show_the_same_estimate() -> None:
    clock = Clock()
    column = TimeLeftColumn()
    time_left = TimeLeft(103, clock)
    with Progress(column, console=Console(file=io.StringIO(), force_terminal=True), auto_refresh=False) as progress:
        observer = RichObserver(time_left, progress)
        trial = make_trial(epochs=103)
        observer.stage_started("tuning", 1, 100)
        observer.trial_started(trial)
        whole, bar = progress.tasks
        assert column.render(whole).plain == column.render(bar).plain == ""
        for epoch in (1, 2, 3):
            clock.now += 6.0
            observer.trial_progress(trial, epoch, 103, {"val_accuracy": 0.5})
        assert column.render(whole).plain == "about 10 min 0 s left"
        assert column.render(bar).plain == ""
        observer.trial_finished(make_record(trial, diverged=True))
        assert (whole.completed, whole.total) == (51, 51)


def test_the_epochs_of_a_study_count_shared_tuning_runs_once() -> None:
    arm = Arm(name="Adam", optimizer="Adam", lrs=(0.1, 0.2, 0.3))
    study = Study(task="t", arms=(arm,), seeds=4, tune_seeds=2, budgets=(2, 5, 10), batch_size=1, tune_epochs=5)
    assert study.declared_epochs == 3 * 2 * (2 + 5) + 4 * (2 + 5 + 10)
