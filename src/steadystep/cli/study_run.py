"""A study run to its report, with progress."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from steadystep.lab.study.records import Results
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
) -> Results:
    """Run what is missing, write the report and show it. Ctrl-C leaves the records, and says `command` resumes them."""
    from steadystep.cli.progress import observe, study_epochs
    from steadystep.lab.execution.run_study import run_study
    from steadystep.lab.report.terminal import render
    from steadystep.lab.report.write import write_report
    from steadystep.lab.statistics.summarise import summarise
    from steadystep.lab.tasks import find_task

    console = Console()
    study = _in_precision(study, dtype, data, folder, device, console)
    with resumable(folder, command), observe(study_epochs(study), console) as observer:
        results = run_study(
            study, find_task(study.task), data, folder, workers, observer, replicas=replicas, device=device
        )
    summary = summarise(results)
    written = write_report(results, summary, folder, command)
    render(results, summary, console)
    show_where(next(path for path in written if path.suffix == ".html"), console)
    return results


@contextmanager
def resumable(folder: Path, command: str) -> Iterator[None]:
    """Ctrl-C ends the command with code 130, and says what is kept where and that `command` resumes it."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nStopped; what was measured is kept in {folder}. Resume with:\n  {command}", file=sys.stderr)
        raise typer.Exit(130) from None


def show_where(page: Path, console: Console) -> None:
    """Where the report can be opened."""
    console.print(f"\nThe whole report: {page.resolve().as_uri()}", soft_wrap=True)


def _in_precision(
    study: Study, dtype: str | None, data: Path | None, folder: Path, device: str | None, console: Console
) -> Study:
    """With the precision that was asked for, or that the folder's study has, or that is faster here."""
    from steadystep.lab.execution.store import Store
    from steadystep.lab.tasks import find_task
    from steadystep.lab.training.device import find_device
    from steadystep.lab.training.precision import fastest

    task, store = find_task(study.task), Store(folder)
    if dtype is None and (folder / "study.json").exists():
        dtype = store.declared().study.dtype
    if dtype is None and task.recipe.channels_last:
        where = find_device(device)  # before the data are loaded, which takes long
        dtype = fastest(task, task.load(data), console.print, where)
    return study.model_copy(update={"dtype": dtype or study.dtype})
