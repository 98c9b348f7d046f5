"""Show the progress of a study: progress bars in a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from steadystep.lab.execution.run_study import Observer
from steadystep.lab.study.spec import Study
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial


@contextmanager
def observe(epochs: int, console: Console) -> Iterator[Observer]:
    """Yield an observer that suits the console. `epochs` is the total number of epochs of all trials."""
    if not console.is_terminal:
        yield PlainObserver(epochs, console)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        yield RichObserver(epochs, progress)


def study_epochs(study: Study) -> int:
    """Return the total number of epochs over all trials of a study, the unit of its progress bar."""
    settings = sum(arm.configurations for arm in study.arms) * study.tune_seeds
    tuned = [min(budget, study.tune_epochs or budget) for budget in study.budgets]
    return settings * sum(tuned) + len(study.arms) * study.seeds * sum(study.budgets)


def _label(trial: Trial) -> str:
    clip = f", clip {trial.clip}" if trial.clip else ""
    return f"{trial.optimizer}{clip}, lr {trial.lr:.3g}, seed {trial.seed}"


def _kind(trial: Trial) -> str:
    """Return the label shared by trials that can be trained together: optimizer, clipper and epochs."""
    clip = f", clip {trial.clip.kind}" if trial.clip else ""
    return f"{trial.optimizer}{clip}, {trial.epochs} epochs"


class RichObserver:
    """An observer with a bar for the study, in epochs, and a bar for each kind of running trial.

    There is no bar per trial, because dozens of trials may run side by side.
    """

    def __init__(self, epochs: int, progress: Progress) -> None:
        self._progress = progress
        self._whole = progress.add_task("[bold]study", total=epochs, note="epochs")
        self._running: dict[str, dict[str, Trial]] = {}  # by kind, then by identity
        self._bars: dict[str, TaskID] = {}  # by kind
        self._done: dict[str, int] = {}

    def stage_started(self, name: str, total_trials: int, total_steps: int) -> None:
        """Show the name of the stage."""
        self._progress.update(self._whole, description=f"[bold]{name}")

    def trial_started(self, trial: Trial) -> None:
        """Add the trial to the bar of its kind."""
        kind = _kind(trial)
        self._running.setdefault(kind, {})[trial.id] = trial
        if kind not in self._bars:
            self._bars[kind] = self._progress.add_task("", note="")
        self._draw(kind)

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Advance the bars and show the validation accuracy."""
        self._advance(trial, epoch)
        if trial.id in self._running.get(_kind(trial), {}):
            note = f"{metrics['val_accuracy']:.1%}" if "val_accuracy" in metrics else ""
            self._draw(_kind(trial), note)

    def trial_finished(self, record: Record) -> None:
        """Advance the bar of the study by the remaining epochs and remove the trial from the bar of its kind."""
        self._advance(record.trial, record.trial.epochs)
        kind = _kind(record.trial)
        running = self._running.get(kind, {})
        if running.pop(record.trial.id, None) is None:
            return
        if running:
            self._draw(kind)
        else:
            self._progress.remove_task(self._bars.pop(kind))

    def warning(self, text: str) -> None:
        """Print the warning above the bars."""
        self._progress.console.print(f"[yellow]{text}", markup=True, soft_wrap=True)

    def _advance(self, trial: Trial, epoch: int) -> None:
        before = self._done.get(trial.id, 0)
        self._done[trial.id] = max(before, epoch)
        self._progress.advance(self._whole, self._done[trial.id] - before)

    def _draw(self, kind: str, note: str = "") -> None:
        """Update the bar of the running trials of one kind; the note is the latest accuracy."""
        trials = list(self._running[kind].values())
        fields: dict[str, Any] = {"note": note} if note else {}
        self._progress.update(
            self._bars[kind],
            description=_label(trials[0]) if len(trials) == 1 else f"{kind}: {len(trials)} runs",
            total=sum(trial.epochs for trial in trials),
            completed=sum(self._done.get(trial.id, 0) for trial in trials),
            **fields,
        )


class PlainObserver:
    """An observer that prints a line for every stage and every few seconds, for logs."""

    EVERY_SECONDS = 5.0

    def __init__(self, epochs: int, console: Console) -> None:
        self._console = console
        self._total = epochs
        self._started = time.monotonic()
        self._last_line = self._started
        self._stage = ""
        self._done: dict[str, int] = {}

    def stage_started(self, name: str, total_trials: int, total_steps: int) -> None:
        """Print the stage and its number of trials."""
        self._stage = name
        self._print(f"{name}: {total_trials} trials")

    def trial_started(self, trial: Trial) -> None:
        """Do nothing: a line for every trial would be too much for a log."""

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Count the epochs of the trial."""
        self._done[trial.id] = max(self._done.get(trial.id, 0), epoch)
        self._print_progress()

    def trial_finished(self, record: Record) -> None:
        """Count all epochs of the trial."""
        self._done[record.trial.id] = record.trial.epochs
        self._print_progress()

    def warning(self, text: str) -> None:
        """Print the warning."""
        self._print(text)

    def _print_progress(self) -> None:
        """Print the progress if the last line is at least a few seconds old."""
        now = time.monotonic()
        if now - self._last_line >= self.EVERY_SECONDS:
            done = sum(self._done.values())
            left = (now - self._started) / done * (self._total - done)
            self._print(f"{self._stage}: {done} of {self._total} epochs, about {left:.0f} s left")

    def _print(self, text: str) -> None:
        self._last_line = time.monotonic()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
