"""`steadystep box`: show what a black box holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from steadystep.lab.report.table import Table
    from steadystep.recorder.recording import Recording

LOSSES, TENSORS = 60, 8
"""How many losses and tensors are shown."""


def box(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a black box.")]) -> None:
    """Show what a black box holds: its trigger, the last losses, the tensors, and what a replay can start from."""
    from steadystep.cli.console import output
    from steadystep.lab.errors import UserError
    from steadystep.lab.report.console_table import show_table
    from steadystep.lab.report.printable import printable
    from steadystep.recorder.errors import BrokenBoxError
    from steadystep.recorder.folder import load

    try:
        recording = load(folder)
    except (BrokenBoxError, ImportError) as error:
        raise UserError(str(error)) from None
    console = output()
    for line in _lines(recording, folder, bool(console.options.ascii_only)):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    if len(recording.steps):
        show_table(_tensors(recording), console)


def _lines(recording: "Recording", folder: Path, ascii_only: bool) -> list[str]:
    about, trigger, steps = recording.about, recording.trigger, recording.steps
    if trigger is None:
        first = "Saved by hand: nothing was wrong."
    else:
        first = f"Step {trigger.step}: {trigger.kind}" + (f" ({trigger.detail})." if trigger.detail else ".")
    span = f"{len(steps)} steps, {steps[0]} to {steps[-1]}" if len(steps) else "no steps"
    batches, starts = list(recording.batches), [snapshot.step for snapshot in recording.snapshots]
    lines = [
        first,
        f"Records: {span}, of {len(recording.names)} tensors",
        f"Losses: {_losses(recording.loss, ascii_only)}",
        f"Batches: {_numbers(batches)}",
        f"Snapshots before the steps: {_numbers(starts)}",
        f"Size: {_size(sum(path.stat().st_size for path in folder.iterdir() if path.is_file()))}",
        f"Run: {about.get('optimizer')} with {_options(about.get('options'))}; on {about.get('device')}, torch "
        f"{about.get('torch')}, Python {about.get('python')}",
    ]
    left_out = about.get("left_out")
    return [*lines, *(f"Left out: {text}" for text in (left_out if isinstance(left_out, tuple) else ()))]


def _losses(loss: "np.ndarray", ascii_only: bool) -> str:
    """Return the last losses as a line of bars, and the last of them as a number."""
    import numpy as np

    last = loss[-LOSSES:]
    if np.isnan(last).all():
        return "none was given"
    sound = last[np.isfinite(last)]
    if not len(sound):
        return "none that is finite"
    bars = "_.-=*#" if ascii_only else "▁▂▃▄▅▆▇█"
    low, high = float(sound.min()), float(sound.max())
    heights = [(value - low) / (high - low) if high > low else 0.0 for value in sound]
    drawn = iter(bars[round(height * (len(bars) - 1))] for height in heights)
    line = "".join(next(drawn) if np.isfinite(value) else "?" if np.isnan(value) else "!" for value in last)
    given = last[~np.isnan(last)]
    shown = f"{line} from {low:.4g} to {high:.4g}, the last {_loss(given[-1])}"
    meanings = {"!": "is not finite", "?": "was not given"}
    return shown + "".join(f"; {sign} {meaning}" for sign, meaning in meanings.items() if sign in line)


def _loss(value: float) -> str:
    return f"{value:.4g}" if value < float("inf") else "not finite"


def _tensors(recording: "Recording") -> "Table":
    """Return the tensors with the largest gradients at the step of the trigger, or at the last one."""
    import numpy as np

    from steadystep.lab.report.table import Column, Table

    steps, trigger = recording.steps, recording.trigger
    found = [] if trigger is None else np.flatnonzero(steps == trigger.step).tolist()
    row = found[0] if found else len(steps) - 1
    norms = np.nan_to_num(recording.gradient[row], nan=-1.0)
    largest = np.argsort(-norms, kind="stable")[:TENSORS]
    columns = ("gradient", "largest", "update", "weight")
    rows = [
        [recording.names[place], *(_number(getattr(recording, column)[row, place]) for column in columns)]
        for place in largest
    ]
    titles = ("Gradient", "Largest element", "Update", "Weight")
    return Table.of(
        f"The largest gradients of step {steps[row]}",
        [Column("Tensor"), *(Column(title, kind="number") for title in titles)],
        rows,
        "Norms of the gradient before clipping, of what the step added, and of the parameter.",
    )


def _number(value: float) -> str:
    return "not measured" if value != value else f"{value:.4g}"


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _options(options: Any) -> str:
    shown = options if isinstance(options, dict) else {}
    return ", ".join(f"{name}={value}" for name, value in shown.items() if value is not None)


def _size(size: int) -> str:
    return f"{size / 2**20:.3g} MiB"
