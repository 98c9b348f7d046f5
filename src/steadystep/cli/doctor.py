"""`steadystep doctor`: find out what is wrong with a run, and which fix holds."""

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    box: Annotated[
        Path | None, typer.Argument(metavar="[BOX]", help="Folder of a black box to start from. (default: run the run)")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:FUNCTION",
            help="Function that returns the run: an object with model, optimizer, loss(model, batch), and batches or "
            "batch(index); optionally step(run, batch), scaler and scheduler. Without it, a box is only read.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps to run. (default: one pass over the batches, at least 200, at most 1000)"),
    ] = None,
    clip: Annotated[bool, typer.Option("--clip", help="Advise on a clipping threshold instead, from the box.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the diagnosis as JSON.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report page, doctor.json and the box. (default: none is written)"),
    ] = None,
) -> int:
    """Find the culprit of a run that goes wrong, and a fix that holds in replay.

    The exit code is 0 for a healthy run, 3 for one with a culprit, 4 for trouble without a proven culprit, and 2 for a
    mistake in the command.
    """
    from steadystep.cli.doctor_output import advise, examine

    if box is None and run is None:
        raise typer.BadParameter("give a box, a run (--run FILE.py:make_run), or both")
    if clip:
        return advise(box, run, as_json)
    return examine(box, run, steps, as_json, out)
