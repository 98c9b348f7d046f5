"""Run a study with a progress display and write its report."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from steadystep.lab.study.spec import Study


def run_to_report(
    study: Study,
    data: Path | None,
    folder: Path,
    workers: int,
    replicas: int | None,
    dtype: str | None,
    device: str | None,
    command: str,
    yes: bool,
    open_page: bool,
) -> Path:
    """Run the missing trials, write the report, print it and return its page.

    After Ctrl-C the records remain, and `command` resumes. A study of more than a day starts only if the user agrees,
    which `yes` says beforehand.
    """
    from steadystep.cli.console import output
    from steadystep.cli.long_study import confirm_long_study
    from steadystep.cli.page_link import finish_with_page
    from steadystep.cli.progress import observe, study_epochs
    from steadystep.lab.execution.forecast import forecast
    from steadystep.lab.execution.run_study import run_study
    from steadystep.lab.report.terminal import render
    from steadystep.lab.report.write import write_report
    from steadystep.lab.statistics.summarise import summarise
    from steadystep.lab.tasks import find_task

    console, task = output(), find_task(study.task)
    with resumable(folder, command):
        study = _in_precision(study, dtype, data, folder, device, console)
        epochs = study_epochs(study)
        confirm_long_study(
            lambda limit: forecast(study, task, epochs, data, workers, replicas, device, limit), folder, console, yes
        )
        with observe(epochs, console) as observer:
            results = run_study(study, task, data, folder, workers, observer, replicas=replicas, device=device)
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
        print(f"\nStopped; the records so far are in {folder}. Resume with:\n  {command}", file=sys.stderr)
        raise typer.Exit(130) from None


def _in_precision(
    study: Study, dtype: str | None, data: Path | None, folder: Path, device: str | None, console: Console
) -> Study:
    """Return the study with the requested precision, else that of the study in the folder, else the fastest."""
    from steadystep.lab.execution.store import Store
    from steadystep.lab.tasks import find_task
    from steadystep.lab.training.device import find_device
    from steadystep.lab.training.precision import fastest_precision

    task, store = find_task(study.task), Store(folder)
    if dtype is None and (folder / "study.json").exists():
        dtype = store.declared().study.dtype
    if dtype is None and task.recipe.channels_last:
        device_found = find_device(device)  # before loading the data, which takes long
        dtype = fastest_precision(task, task.load(data), console.print, device_found)
    return study.model_copy(update={"dtype": dtype or study.dtype})
