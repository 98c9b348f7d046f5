"""`steadystep reproduce`: the main job, from a task's name to verdicts."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def reproduce(
    task: Annotated[str, typer.Option(help="Which comparison; `steadystep tasks` lists them.")] = "digits-mlp",
    study: Annotated[
        Path | None, typer.Option(help="A study file (YAML) to run instead of the task's own comparison.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Paired seeds per arm. [default: the task's]")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="The largest budget of epochs. [default: the task's]")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials that run at the same time, one thread each.")] = 2,
    replicas: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Trials of one arm that are trained as one batched model; 1: each by itself. [default: the task's]",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(envvar="STEADYSTEP_DATA", help="Folder with local data sets, in the hub's layout."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for records and report. [default: studies/TASK]")] = None,
) -> None:
    """Tune every arm alike, run it on paired seeds, and say which differ. The same command resumes it."""
    from steadystep.lab.study.fork_server import warm_up

    if workers > 1:
        warm_up()  # while this process imports, so does the one that the workers come from

    from steadystep.cli.command import command_line
    from steadystep.cli.progress import observe, study_epochs
    from steadystep.lab.report.terminal import render
    from steadystep.lab.report.write import write_report
    from steadystep.lab.study.run import run_study
    from steadystep.lab.study.spec import load_study, study_for
    from steadystep.lab.study.summarise import summarise
    from steadystep.lab.tasks import find_task

    chosen = load_study(study) if study else study_for(find_task(task), seeds=seeds, epochs=epochs)
    folder = out or Path("studies") / chosen.task
    command = command_line(
        "reproduce",
        task=None if study else task,
        study=study,
        seeds=seeds,
        epochs=epochs,
        workers=workers,
        replicas=replicas,
        data=data,
        out=out,
    )
    console = Console()
    try:
        with observe(study_epochs(chosen), console) as observer:
            results = run_study(chosen, find_task(chosen.task), data, folder, workers, observer, replicas=replicas)
    except KeyboardInterrupt:
        print(f"\nStopped; what was measured is kept in {folder}. Resume with:\n  {command}", file=sys.stderr)
        raise typer.Exit(130) from None
    summary = summarise(results)
    written = write_report(results, summary, folder, command)
    render(results, summary, console)
    page = next(path for path in written if path.suffix == ".html")
    console.print(f"\nThe whole report: {page.resolve().as_uri()}", soft_wrap=True)
