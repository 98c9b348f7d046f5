"""`steadystep success`: the share of runs that solve a long-sequence problem, by optimizer and sequence length."""

from pathlib import Path
from typing import Annotated

import typer

from steadystep.cli.options import Address, Device, Executor, Log, NumGpus, Open, Ranks, Replicas, Workers, Yes


def success(
    task: Annotated[
        str, typer.Option(help="The generated problem: rnn-addition, rnn-temporal-order, ...")
    ] = "rnn-temporal-order",
    lengths: Annotated[str, typer.Option(metavar="T,...", help="Lengths of the sequences.")] = "10,20,30,40",
    cells: Annotated[
        str, typer.Option(metavar="NAME,...", help="Networks: tanh, smart-tanh, sigmoid, lstm, gru.")
    ] = "tanh",
    arms: Annotated[str | None, typer.Option(metavar="NAME,...", help="Arms of the task. (default: all)")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs of each arm at each length.")] = 20,
    tune_seeds: Annotated[int, typer.Option(min=1, help="Number of tuning runs of each setting.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each run; an epoch has 200 updates.")] = 20,
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units of each network.")] = 50,
    workers: Workers = 2,
    executor: Executor = "processes",
    address: Address = None,
    num_gpus: NumGpus = None,
    ranks: Ranks = None,
    replicas: Replicas = None,
    device: Device = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for records and report. (default: studies/TASK-success)")
    ] = None,
    log: Log = None,
    open_page: Open = False,
    yes: Yes = False,
) -> None:
    """Measure the share of successful runs at each sequence length. The same command resumes a stopped measurement."""
    from steadystep.cli.ranks import require_ranks
    from steadystep.lab.system.fork_server import warm_up

    require_ranks(ranks, executor)
    if workers > 1 and executor == "processes":
        warm_up()  # the fork server of the workers imports in parallel with this process

    from steadystep.cli.console import output
    from steadystep.cli.long_study import confirm_long_study
    from steadystep.cli.names import split_names
    from steadystep.cli.page_link import finish_with_page
    from steadystep.cli.study_run import resumable
    from steadystep.lab.execution.cluster import cluster_options, find_cluster
    from steadystep.lab.execution.forecast import forecast
    from steadystep.lab.progress.observers import observe
    from steadystep.lab.report.document import show
    from steadystep.lab.report.success.report import write_success
    from steadystep.lab.sinks.choose import open_destinations
    from steadystep.lab.sinks.observer import Logged
    from steadystep.lab.study.command import command_line, folder_for
    from steadystep.lab.success.declare import measurement_for
    from steadystep.lab.success.run import run_success
    from steadystep.lab.system.torchrun import follows

    cluster = find_cluster(executor, address, num_gpus, device)
    measurement = measurement_for(
        task,
        cells=split_names(cells),
        lengths=_parse_lengths(lengths),
        arms=split_names(arms),
        seeds=seeds,
        tune_seeds=tune_seeds,
        epochs=epochs,
        hidden=hidden,
    )
    folder = out or folder_for(f"rnn-{measurement.problem}", "-success")
    options = {
        "task": task, "lengths": lengths, "cells": cells, "arms": arms, "seeds": seeds, "tune-seeds": tune_seeds,
        "epochs": epochs, "hidden": hidden, "workers": workers, **cluster_options(cluster), "ranks": ranks,
        "replicas": replicas, "device": device, "out": out, "log": log, "yes": yes,
    }  # fmt: skip
    command = command_line("success", **options)
    tuning_runs = sum(arm.configurations for arm in measurement.arms) * tune_seeds
    runs = len(measurement.cells) * (tuning_runs + len(measurement.arms) * len(measurement.lengths) * seeds)
    console = output()
    shortest = measurement.task(measurement.cells[0], measurement.lengths[0])
    destinations = open_destinations(log or ())
    with resumable(folder, command):
        confirm_long_study(
            lambda limit: forecast(
                measurement.study(shortest), shortest, runs * epochs, None, workers, replicas, device, limit
            ),
            folder,
            console,
            yes or cluster is not None,
        )
        with observe(runs * epochs, console) as observer:
            results = run_success(
                measurement,
                folder,
                workers,
                Logged(observer, destinations, measurement.arms),
                replicas=replicas,
                device=device,
                cluster=cluster,
            )
    if follows():
        return
    document, (page, *_) = write_success(results, command, folder)
    show(document, console)
    finish_with_page(page, console, open_page)


def _parse_lengths(text: str) -> tuple[int, ...]:
    """Return the integers in a comma-separated list.

    Raises:
        UserError: if a part is not an integer.
    """
    from steadystep.cli.names import split_names
    from steadystep.lab.errors import UserError

    parts = split_names(text)
    wrong = next((part for part in parts if not part.isdecimal()), None)
    if wrong is not None:
        raise UserError(f"--lengths takes integers separated by commas, such as 10,20,40, got {wrong!r}")
    return tuple(map(int, parts))
