"""`steadystep stability`: how sensitive optimizers are to the learning rate, with and without clipping."""

from pathlib import Path
from typing import Annotated

import typer

from steadystep.cli.options import Address, Data, Device, Executor, Log, NumGpus, Open, Ranks, Workers, Yes


def stability(
    task: Annotated[str, typer.Option(help="The task; `steadystep tasks` lists them.")] = "digits-mlp",
    optimizers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="Optimizers, or unclipped arms of the task. (default: all its unclipped arms)"
        ),
    ] = None,
    clip: Annotated[str, typer.Option(metavar="NAME,...", help="Clippers, each run with every optimizer.")] = "norm",
    lrs: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH:POINTS",
            help="Learning rates of all arms: a grid with equal ratios, such as 1e-4:10:11, or a list such as "
            "0.001,0.01,0.1. (default: four per decade, from three decades below to three decades above the middle of "
            "those that the task declares)",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs at each learning rate.")] = 3,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of each run. (default: those that the task declares for sweeps)")
    ] = None,
    quantile: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=0.99,
            help="The clip threshold is this quantile of the gradient norms that the unclipped runs recorded at their "
            "best learning rate.",
        ),
    ] = 0.5,
    within: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="How far below the best accuracy of its arm a usable learning rate may end: 0.05 is 5 points.",
        ),
    ] = 0.05,
    workers: Workers = 2,
    executor: Executor = "processes",
    address: Address = None,
    num_gpus: NumGpus = None,
    ranks: Ranks = None,
    device: Device = None,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for records and report. (default: studies/TASK-stability)")
    ] = None,
    log: Log = None,
    open_page: Open = False,
    yes: Yes = False,
) -> None:
    """Sweep the learning rate with and without clipping. The same command resumes a stopped sweep."""
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
    from steadystep.lab.report.document import show, write_document
    from steadystep.lab.report.stability.report import stability_document
    from steadystep.lab.sinks.choose import open_destinations
    from steadystep.lab.sinks.observer import Logged
    from steadystep.lab.stability.declare import sweep_for
    from steadystep.lab.stability.grid import parse_grid
    from steadystep.lab.stability.run import run_sweep
    from steadystep.lab.study.command import command_line, folder_for
    from steadystep.lab.system.torchrun import follows
    from steadystep.lab.tasks import find_task

    cluster = find_cluster(executor, address, num_gpus, device)
    chosen = find_task(task)
    sweep = sweep_for(
        chosen,
        optimizers=split_names(optimizers),
        clips=split_names(clip),
        lrs=parse_grid(lrs) if lrs is not None else (),
        seeds=seeds,
        epochs=epochs,
        quantile=quantile,
    )
    folder = out or folder_for(chosen.name, "-stability")
    command = command_line(
        "stability",
        task=task,
        optimizers=optimizers,
        clip=clip,
        lrs=lrs,
        seeds=seeds,
        epochs=epochs,
        quantile=quantile,
        within=within,
        workers=workers,
        **cluster_options(cluster),
        ranks=ranks,
        device=device,
        data=data,
        out=out,
        log=log,
        yes=yes,
    )
    console = output()
    # Only the tuning runs of a sweep are run.
    all_epochs = sum(len(arm.lrs) for arm in sweep.arms) * seeds * sweep.epochs
    destinations = open_destinations(log or ())
    with resumable(folder, command):
        confirm_long_study(
            lambda limit: forecast(sweep, chosen, all_epochs, data, workers, None, device, limit),
            folder,
            console,
            yes or cluster is not None,
        )
        with observe(all_epochs, console) as observer:
            logged = Logged(observer, destinations, sweep.arms)
            results = run_sweep(sweep, chosen, data, folder, workers, logged, device=device, cluster=cluster)
    if follows():
        return
    document = stability_document(results, command, within)
    page, *_ = write_document(document, folder)
    show(document, console)
    finish_with_page(page, console, open_page)
