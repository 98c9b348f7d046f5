"""`steadystep compare`: compare any optimizers, with any clippers, on any task."""

from pathlib import Path
from typing import Annotated

import typer

from steadystep.cli.options import (
    Address,
    Data,
    Device,
    Dtype,
    Executor,
    Log,
    NumGpus,
    Open,
    Ranks,
    Replicas,
    Seeds,
    Workers,
    Yes,
)
from steadystep.lab.choices import Schedule


def compare(
    task: Annotated[str, typer.Option(help="The task; `steadystep tasks` lists them.")] = "digits-mlp",
    arms: Annotated[
        str,
        typer.Option(
            help="OPTIMIZER or OPTIMIZER+CLIPPER, separated by commas; append @LOW:HIGH to set the range of learning "
            "rates to search. Clippers: norm (by global norm), value, smooth, agc, adagc, autoclip, zclip, update, "
            "skip."
        ),
    ] = "adam,adam+norm",
    settings: Annotated[int, typer.Option(min=2, help="Number of settings to try per arm, an even number.")] = 4,
    seeds: Seeds = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of each run. (default: the task's largest budget)")
    ] = None,
    schedule: Annotated[Schedule | None, typer.Option(help="Learning rate schedule. (default: the task's)")] = None,
    workers: Workers = 2,
    executor: Executor = "processes",
    address: Address = None,
    num_gpus: NumGpus = None,
    ranks: Ranks = None,
    replicas: Replicas = None,
    dtype: Dtype = None,
    device: Device = None,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for records and report. (default: studies/TASK-compared)")
    ] = None,
    log: Log = None,
    open_page: Open = False,
    yes: Yes = False,
) -> None:
    """Compare optimizers and clippers of your choice, tuned equally, on paired seeds. Run again, it goes on."""
    from steadystep.cli.ranks import require_ranks
    from steadystep.lab.system.fork_server import warm_up

    require_ranks(ranks, executor)
    if workers > 1 and executor == "processes":
        warm_up()  # the fork server of the workers imports in parallel with this process

    from steadystep.cli.study_run import run_to_report
    from steadystep.lab.execution.cluster import cluster_options, find_cluster
    from steadystep.lab.study.command import command_line, folder_for
    from steadystep.lab.study.compare import comparison
    from steadystep.lab.tasks import find_task

    cluster = find_cluster(executor, address, num_gpus, device)
    study = comparison(find_task(task), arms, settings=settings, seeds=seeds, epochs=epochs, schedule=schedule)
    command = command_line(
        "compare", task=task, arms=arms, settings=settings, seeds=seeds, epochs=epochs, schedule=schedule,
        workers=workers, **cluster_options(cluster), ranks=ranks, replicas=replicas, dtype=dtype, device=device,
        data=data, out=out, log=log, yes=yes,
    )  # fmt: skip
    folder = out or folder_for(study.task, "-compared")
    run_to_report(study, data, folder, workers, cluster, replicas, dtype, device, command, yes, open_page, log or ())
