"""`steadystep verify`: run a sample of a study's trials again and compare them with their records."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from steadystep.cli.options import Data, Device, Workers


def verify(
    study: Annotated[Path, typer.Argument(help="The folder of a finished study, such as docs/results/digits-mlp.")],
    trials: Annotated[int, typer.Option(min=1, help="Number of trials to run again, equally many of each arm.")] = 6,
    workers: Workers = 2,
    device: Device = None,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the new records. (default: studies/NAME-verification)")
    ] = None,
) -> None:
    """Run a sample of a study's trials again; exit code 1 if they differ by more than machines do."""
    from steadystep.cli.console import output
    from steadystep.cli.study_run import resumable
    from steadystep.lab.execution.verify import verify as run_again
    from steadystep.lab.progress.observers import observe
    from steadystep.lab.report.console_table import show_table
    from steadystep.lab.report.lines import say
    from steadystep.lab.report.verification import verification_table, verification_words
    from steadystep.lab.study.command import command_line, folder_for

    folder = out or folder_for(study.resolve().name, "-verification")
    command = command_line(
        f"verify {shlex.quote(str(study))}", trials=trials, workers=workers, device=device, data=data, out=out
    )
    console = output()
    with resumable(folder, command), observe(0, console) as observer:
        verification = run_again(study, trials, data, folder, workers, observer, device)
    show_table(verification_table(verification), console)
    say(verification_words(verification), console)
    if not verification.agrees:
        raise typer.Exit(1)
