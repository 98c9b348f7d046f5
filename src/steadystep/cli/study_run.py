"""Run a study with a progress display and write its report."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from steadystep.lab.choices import Precision
from steadystep.lab.execution.cluster import Cluster
from steadystep.lab.study.spec import Study
from steadystep.lab.system.torchrun import follows


def run_to_report(
    study: Study,
    data: Path | None,
    folder: Path,
    workers: int,
    cluster: Cluster | None,
    replicas: int | None,
    dtype: Precision | None,
    device: str | None,
    command: str,
    yes: bool,
    open_page: bool,
    log: Sequence[str],
) -> Path:
    """Run the missing trials, write the report, print it and return its page.

    After Ctrl-C the records remain, and `command` resumes. A study of more than a day starts only if the user agrees,
    which `yes` says beforehand; on a cluster nobody is asked. Of several processes, the first one writes the report.
    """
    from steadystep.cli.console import output
    from steadystep.cli.long_study import confirm_long_study
    from steadystep.cli.page_link import finish_with_page
    from steadystep.lab.execution.forecast import forecast
    from steadystep.lab.execution.run_study import run_study
    from steadystep.lab.execution.study_precision import in_precision
    from steadystep.lab.progress.observers import observe
    from steadystep.lab.report.terminal import render
    from steadystep.lab.report.write import write_report
    from steadystep.lab.sinks.choose import open_destinations
    from steadystep.lab.sinks.observer import Logged
    from steadystep.lab.statistics.summarise import summarise
    from steadystep.lab.tasks import find_task

    console, task = output(), find_task(study.task)
    destinations = open_destinations(log)
    with resumable(folder, command):
        study = in_precision(study, task, dtype, data, folder, device, console.print, cluster)
        epochs = study.declared_epochs
        confirm_long_study(
            lambda limit: forecast(study, task, epochs, data, workers, replicas, device, limit),
            folder,
            console,
            yes or cluster is not None,
        )
        with observe(epochs, console) as observer:
            logged = Logged(observer, destinations, study.arms)
            results = run_study(
                study, task, data, folder, workers, logged, replicas=replicas, device=device, cluster=cluster
            )
    if follows():
        return folder
    summary = summarise(results)
    written = write_report(results, summary, folder, command)
    render(results, summary, console)
    page = next(path for path in written if path.suffix == ".html")
    finish_with_page(page, console, open_page)
    return page


@contextmanager
def resumable(folder: Path, command: str) -> Iterator[None]:
    """Exit with code 130 on Ctrl-C, after printing the folder of the records and the command that resumes.

    Raises:
        StoreError: if the folder cannot be written, before anything is loaded or trained.
    """
    from steadystep.lab.system.atomic import check_folder

    check_folder(folder)
    try:
        yield
    except KeyboardInterrupt:
        if follows():
            raise typer.Exit(130) from None
        print(f"\nStopped; the records so far are in {folder}. Resume with:\n  {command}", file=sys.stderr)
        raise typer.Exit(130) from None
