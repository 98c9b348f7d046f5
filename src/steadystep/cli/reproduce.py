"""`steadystep reproduce`: run the study of a task, from its name to the verdicts."""

import sys
from pathlib import Path
from typing import Annotated, Any

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

ALL = "all"


def reproduce(
    task: Annotated[
        str,
        typer.Option(help="The task; `steadystep tasks` lists them. `all`: every row of the paper's table."),
    ] = "digits-mlp",
    study: Annotated[
        Path | None, typer.Option(help="A study file (YAML) to run instead of the task's own comparison.")
    ] = None,
    seeds: Seeds = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="The largest budget of epochs. (default: the task's)")
    ] = None,
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
        Path | None, typer.Option(help="Folder for records and report. (default: studies/TASK; with `all`: studies)")
    ] = None,
    log: Log = None,
    open_page: Open = False,
    yes: Yes = False,
) -> None:
    """Run the study of a task or of a file: arms tuned equally, paired seeds, verdicts. Run again, it goes on."""
    from steadystep.cli.ranks import require_ranks
    from steadystep.lab.system.fork_server import warm_up

    require_ranks(ranks, executor)
    if workers > 1 and executor == "processes":
        warm_up()  # the fork server of the workers imports in parallel with this process

    from steadystep.cli.study_run import run_to_report
    from steadystep.lab.errors import UserError
    from steadystep.lab.execution.cluster import cluster_options, find_cluster
    from steadystep.lab.study.command import command_line, folder_for
    from steadystep.lab.study.spec import load_study, study_for
    from steadystep.lab.tasks import find_task

    cluster = find_cluster(executor, address, num_gpus, device)
    options = {
        "study": study, "seeds": seeds, "epochs": epochs, "workers": workers, **cluster_options(cluster),
        "ranks": ranks, "replicas": replicas, "dtype": dtype, "device": device, "data": data, "log": log, "yes": yes,
    }  # fmt: skip
    if study and (seeds is not None or epochs is not None):
        raise UserError("a study declares its own seeds and budgets: leave out --seeds and --epochs")
    if task.lower() != ALL or study:
        chosen = load_study(study) if study else study_for(find_task(task), seeds=seeds, epochs=epochs)
        command = command_line("reproduce", task=None if study else task, **options, out=out)
        folder = out or folder_for(chosen.task)
        run_to_report(
            chosen, data, folder, workers, cluster, replicas, dtype, device, command, yes, open_page, log or ()
        )
        return
    _reproduce_table(out or Path("studies"), out, options, cluster, open_page)


def _reproduce_table(folder: Path, out: Path | None, options: dict[str, Any], cluster: Any, open_pages: bool) -> None:
    """Run every task with a row in the paper's table. If a task cannot be run, report it and continue."""
    from steadystep.cli.console import output
    from steadystep.cli.page_link import finish_with_page
    from steadystep.cli.study_run import run_to_report
    from steadystep.lab.errors import UserError
    from steadystep.lab.paper.table_rows import accuracies, improvements
    from steadystep.lab.report.audit import render
    from steadystep.lab.report.lines import say
    from steadystep.lab.study.command import command_line
    from steadystep.lab.study.spec import study_for
    from steadystep.lab.system.torchrun import follows
    from steadystep.lab.tasks import TASKS

    console, not_run, pages = output(), [], []
    for name, task in TASKS.items():
        if not task.claims:
            continue
        say(name, console, "bold underline")
        study = study_for(task, seeds=options["seeds"], epochs=options["epochs"])
        command = command_line("reproduce", task=name, **options, out=out and out / name)
        try:
            page = run_to_report(
                study,
                options["data"],
                folder / name,
                options["workers"],
                cluster,
                options["replicas"],
                options["dtype"],
                options["device"],
                command,
                options["yes"],
                open_page=False,
                log=options["log"] or (),
            )
            pages.append(page)
        except UserError as error:
            not_run.append(name)
            if follows():
                continue
            print(
                f"steadystep: {name} was not run: {error}\nOn a machine that can run it, use\n  {command}",
                file=sys.stderr,
            )
    if follows():
        return
    say("the paper's Table 1", console, "bold underline")
    render([*accuracies(folder), *improvements(folder)], console)
    for page in pages:
        finish_with_page(page, console, open_pages)
    if not_run:
        raise typer.Exit(2)
