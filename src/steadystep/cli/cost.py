"""`steadystep cost`: the cost of optimizers and clippers in a training step."""

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from steadystep.cli.options import Data, Open


def cost(
    task: Annotated[
        str, typer.Option(help="Task of the model and the batches; `steadystep tasks` lists them.")
    ] = "digits-mlp",
    arms: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Optimizers, optionally with +CLIPPER, such as Adam,Adam+norm; SGD is always measured. "
            "(default: every optimizer, and Adam with every clipper)",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Duration of the measurement; at least 5 rounds.")] = 60.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch; the trials of a study use 1.")] = 1,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report. (default: studies/TASK-cost)")] = None,
    open_page: Open = False,
) -> None:
    """Measure time and memory of every optimizer and clipper within the training step of a task, in turns."""
    import torch

    from steadystep.cli.console import output
    from steadystep.cli.names import split_names
    from steadystep.cli.page_link import finish_with_page
    from steadystep.lab.cost.arms import cost_arms
    from steadystep.lab.cost.measure import measure
    from steadystep.lab.errors import UserError
    from steadystep.lab.report.cost.report import cost_document
    from steadystep.lab.report.document import show, write_document
    from steadystep.lab.report.files import make_folder
    from steadystep.lab.study.command import command_line, folder_for
    from steadystep.lab.tasks import find_task

    if not math.isfinite(seconds):
        raise UserError(f"--seconds is {seconds}: it must be a finite number from 0.1 up")
    chosen, measured_arms = find_task(task), cost_arms(split_names(arms))
    folder = out or folder_for(chosen.name, "-cost")
    make_folder(folder)  # fail before the measurement, not after it
    torch.set_num_threads(threads)
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=1.0)
        results = measure(
            chosen,
            data,
            measured_arms,
            seconds,
            lambda done, arm: progress.update(bar, completed=done, description=arm),
        )
    command = command_line("cost", task=task, arms=arms, seconds=seconds, threads=threads, data=data, out=out)
    document = cost_document(results, command)
    page, *_ = write_document(document, folder)
    console = output()
    show(document, console)
    finish_with_page(page, console, open_page)
