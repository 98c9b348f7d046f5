"""Show the progress of a study: progress bars in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from steadystep.lab.counted import count
from steadystep.lab.execution.observer import Observer
from steadystep.lab.progress.time_left import TimeLeft, duration
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial


@contextmanager
def observe(epochs: int, console: Console) -> Iterator[Observer]:
    """Yield an observer that suits the console. `epochs` is the total number of epochs of all trials."""
    time_left = TimeLeft(epochs)
    if not console.is_terminal:
        yield PlainObserver(time_left, console)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
        TimeLeftColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        yield RichObserver(time_left, progress)


def _label(trial: Trial) -> str:
    clip = f" + {trial.clip}" if trial.clip else ""
    return f"{trial.optimizer}{clip}, lr {trial.lr:.3g}, seed {trial.seed}"


def _kind(trial: Trial) -> str:
    """Return the label shared by trials that can be trained together: optimizer, clipper and epochs."""
    clip = f" + {trial.clip.kind}" if trial.clip else ""
    return f"{trial.optimizer}{clip}, {trial.epochs} epochs"


class TimeLeftColumn(ProgressColumn):
    """Shows the estimate of a bar that has one in its field `time_left`."""

    def render(self, task: Task) -> Text:
        """Return the estimate, or nothing as long as there is none."""
        time_left: TimeLeft | None = task.fields.get("time_left")
        seconds = time_left.seconds() if time_left else None
        return Text("" if seconds is None else f"about {duration(seconds)} left", style="progress.remaining")


class RichObserver:
    """An observer with a bar for the study, in epochs, and a bar for each kind of running trial.

    There is no bar per trial, because dozens of trials may run side by side.
    """

    def __init__(self, time_left: TimeLeft, progress: Progress) -> None:
        self._progress, self._time_left = progress, time_left
        self._whole = progress.add_task("[bold]study", total=time_left.total, note="epochs", time_left=time_left)
        self._running: dict[str, dict[str, Trial]] = {}  # by kind, then by identity
        self._bars: dict[str, TaskID] = {}  # by kind

    def stage_started(self, name: str, total_trials: int, total_steps: int) -> None:
        """Show the name of the stage."""
        self._time_left.start_stage()
        self._progress.update(self._whole, description=f"[bold]{name}")

    def study_extended(self, epochs: int) -> None:
        """Lengthen the bar."""
        self._time_left.total += epochs
        self._draw_whole()

    def trial_started(self, trial: Trial) -> None:
        """Add the trial to the bar of its kind."""
        kind = _kind(trial)
        self._running.setdefault(kind, {})[trial.id] = trial
        if kind not in self._bars:
            self._bars[kind] = self._progress.add_task("", note="")
        self._draw(kind)

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Advance the bars and show the validation accuracy."""
        self._time_left.report_epoch(trial, epoch)
        self._draw_whole()
        if trial.id in self._running.get(_kind(trial), {}):
            note = f"{metrics['val_accuracy']:.1%}" if "val_accuracy" in metrics else ""
            self._draw(_kind(trial), note)

    def trial_finished(self, record: Record) -> None:
        """Advance the bar of the study by the trial's epochs and remove the trial from the bar of its kind."""
        self._time_left.finish(record)
        self._draw_whole()
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
        self._progress.console.print(Text(text, "yellow"), soft_wrap=True)

    def _draw_whole(self) -> None:
        self._progress.update(self._whole, completed=self._time_left.done, total=self._time_left.total)

    def _draw(self, kind: str, note: str = "") -> None:
        """Update the bar of the running trials of one kind; the note is the latest accuracy."""
        trials = list(self._running[kind].values())
        fields: dict[str, Any] = {"note": note} if note else {}
        self._progress.update(
            self._bars[kind],
            description=_label(trials[0]) if len(trials) == 1 else f"{kind}: {len(trials)} runs",
            total=sum(trial.epochs for trial in trials),
            completed=sum(map(self._time_left.epochs_of, trials)),
            **fields,
        )


class PlainObserver:
    """An observer that prints a line for every stage and every few seconds, for logs."""

    EVERY_SECONDS = 5.0

    def __init__(self, time_left: TimeLeft, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._time_left, self._clock = console, time_left, clock
        self._last_line = clock()
        self._stage = ""

    def stage_started(self, name: str, total_trials: int, total_steps: int) -> None:
        """Print the stage and its number of trials."""
        self._time_left.start_stage()
        self._stage = name
        self._print(f"{name}: {count(total_trials, 'trial')}")

    def study_extended(self, epochs: int) -> None:
        """Count the further epochs."""
        self._time_left.total += epochs

    def trial_started(self, trial: Trial) -> None:
        """Do nothing: a line for every trial would be too much for a log."""

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Count the epochs of the trial."""
        self._time_left.report_epoch(trial, epoch)
        self._print_progress()

    def trial_finished(self, record: Record) -> None:
        """Count the epochs that the trial trained."""
        self._time_left.finish(record)
        self._print_progress()

    def warning(self, text: str) -> None:
        """Print the warning."""
        self._print(text)

    def _print_progress(self) -> None:
        """Print the progress if the last line is at least a few seconds old."""
        if self._clock() - self._last_line >= self.EVERY_SECONDS:
            seconds = self._time_left.seconds()
            left = "" if seconds is None else f", about {duration(seconds)} left"
            self._print(f"{self._stage}: {self._time_left.done} of {self._time_left.total} epochs{left}")

    def _print(self, text: str) -> None:
        self._last_line = self._clock()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
