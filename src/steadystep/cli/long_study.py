"""Ask before a study starts that takes more than a day."""

import sys
from collections.abc import Callable
from pathlib import Path

import typer
from rich.console import Console

from steadystep.lab.errors import UserError
from steadystep.lab.execution.forecast import Forecast
from steadystep.lab.progress.time_left import duration
from steadystep.lab.report.lines import say
from steadystep.lab.system.torchrun import place

LIMIT = 24 * 3600.0


def confirm_long_study(measure: Callable[[float], Forecast], folder: Path, console: Console, yes: bool) -> None:
    """Ask whether to start a study that takes longer than a day; do nothing if it has been started before.

    Processes that torchrun started are not asked: only one of them could answer.

    Args:
        measure: Returns the forecast of a study, given the time below which it need not be exact.
        folder: The folder of the study's records.
        console: Where to say how long the study takes.
        yes: Whether the user has already agreed; nothing is measured then.

    Raises:
        UserError: if the user does not agree, or cannot be asked because there is no terminal.
    """
    records = folder / "records"
    if yes or place() or (records.is_dir() and any(records.iterdir())):
        return
    found = measure(LIMIT)
    if found.seconds <= LIMIT:
        return
    message = (
        f"this study takes at least {duration(found.seconds)}: {found.steps:,} steps of {found.step_seconds:.2g} s on "
        f"this machine, {found.at_once} at a time"
    )
    if console.is_terminal and sys.stdin.isatty():
        say(f"{message}.", console)
        if typer.confirm("Start it?"):
            return
    raise UserError(f"{message}: add --yes to start it, or choose fewer --seeds or --epochs")
