"""`steadystep report`: write the tables and the HTML page of a finished study from its records."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from steadystep.cli.options import Open


def report(
    study: Annotated[Path, typer.Argument(help="The folder that `steadystep reproduce` wrote.")],
    out: Annotated[Path | None, typer.Option(help="Where to write the report. (default: the study's folder)")] = None,
    pack: Annotated[
        Path | None, typer.Option(help="Also archive the study's records in this folder, in two small files.")
    ] = None,
    open_page: Open = False,
) -> None:
    """Write the report of a finished study again, without training."""
    from steadystep.cli.console import output
    from steadystep.cli.page_link import finish_with_page
    from steadystep.lab.execution.archive import pack as pack_study
    from steadystep.lab.execution.observer import Silent
    from steadystep.lab.execution.run_study import read_study
    from steadystep.lab.report.terminal import render
    from steadystep.lab.report.write import write_report
    from steadystep.lab.statistics.summarise import summarise
    from steadystep.lab.study.spec import command_for
    from steadystep.lab.system.atomic import check_folder

    class Warnings(Silent):
        def warning(self, text: str) -> None:
            """Print the warning to stderr."""
            print(f"steadystep: {text}", file=sys.stderr)

    for folder in (out, pack):
        if folder is not None:
            check_folder(folder)
    results = read_study(study, Warnings())
    summary = summarise(results)
    command = command_for(results.study, results.task, shlex.quote(str(study / "study.json")))
    written = write_report(results, summary, out or study, command)
    if pack is not None:
        written += pack_study(study, pack)
    console = output()
    for path in written:
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)
    console.print()
    render(results, summary, console)
    finish_with_page(next(path for path in written if path.suffix == ".html"), console, open_page)
