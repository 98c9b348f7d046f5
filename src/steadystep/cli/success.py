"""`steadystep success`: how often runs solve a problem of long sequences, by optimizer and length."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from steadystep.cli.options import Device, Replicas, Workers


def success(
    task: Annotated[
        str, typer.Option(help="Which generated problem: rnn-addition, rnn-temporal-order, ...")
    ] = "rnn-temporal-order",
    lengths: Annotated[str, typer.Option(metavar="T,...", help="Lengths of the sequences.")] = "10,20,30,40",
    cells: Annotated[
        str, typer.Option(metavar="NAME,...", help="Networks: tanh, smart-tanh, sigmoid, lstm, gru.")
    ] = "tanh",
    arms: Annotated[str | None, typer.Option(metavar="NAME,...", help="Arms of the task. (default: all)")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each arm at each length.")] = 20,
    tune_seeds: Annotated[int, typer.Option(min=1, help="Runs of each setting that is tried.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Of each run; one has 200 updates.")] = 20,
    hidden: Annotated[int, typer.Option(min=1, help="Units of each network.")] = 50,
    workers: Workers = 2,
    replicas: Replicas = None,
    device: Device = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for records and report. (default: studies/TASK-success)")
    ] = None,
) -> None:
    """Measure which share of runs succeeds at each length of sequence. The same command resumes it."""
    from steadystep.lab.system.fork_server import warm_up

    if workers > 1:
        warm_up()  # while this process imports, so does the one that the workers come from

    from steadystep.cli.command import command_line, folder_for, names
    from steadystep.cli.progress import observe
    from steadystep.cli.study_run import resumable, show_where
    from steadystep.lab.report.document import show
    from steadystep.lab.report.success.report import write_success
    from steadystep.lab.success.declare import measurement_for
    from steadystep.lab.success.run import run_success

    measurement = measurement_for(
        task,
        cells=names(cells),
        lengths=_numbers(lengths),
        arms=names(arms),
        seeds=seeds,
        tune_seeds=tune_seeds,
        epochs=epochs,
        hidden=hidden,
    )
    folder = out or folder_for(task, "-success")
    options = {
        "task": task, "lengths": lengths, "cells": cells, "arms": arms, "seeds": seeds, "tune-seeds": tune_seeds,
        "epochs": epochs, "hidden": hidden, "workers": workers, "replicas": replicas, "device": device,
        "out": out,
    }  # fmt: skip
    command = command_line("success", **options)
    tried = sum(arm.configurations for arm in measurement.arms) * tune_seeds
    runs = len(measurement.cells) * (tried + len(measurement.arms) * len(measurement.lengths) * seeds)
    console = Console()
    with resumable(folder, command), observe(runs * epochs, console) as observer:
        results = run_success(measurement, folder, workers, observer, replicas=replicas, device=device)
    document, (page, *_) = write_success(results, command, folder)
    show(document, console)
    show_where(page, console)


def _numbers(given: str) -> tuple[int, ...]:
    """Whole numbers in a list with commas. Raises UserError."""
    from steadystep.cli.command import names
    from steadystep.lab.errors import UserError

    wrong = next((part for part in names(given) if not part.isdecimal()), None)
    if wrong is not None:
        raise UserError(f"--lengths takes whole numbers with commas, such as 10,20,40, got {wrong!r}")
    return tuple(map(int, names(given)))
