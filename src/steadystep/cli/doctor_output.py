"""Examine a run with a progress bar, and print or write what is found.

The modules of reports take seconds to import, which JSON does not need.
"""

import json
import shlex
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from steadystep.cli.console import output
from steadystep.diagnosis.advise_clip import advise_clip
from steadystep.diagnosis.diagnose import diagnose
from steadystep.diagnosis.errors import RunError
from steadystep.diagnosis.result import Diagnosis
from steadystep.lab.doctor.run_file import make_run
from steadystep.lab.errors import UserError
from steadystep.lab.study.command import command_line
from steadystep.lab.system.atomic import check_folder
from steadystep.recorder.folder import BrokenBoxError

KEPT = "box"
"""The folder in that of the report in which the black box of the replayed run is kept."""


def examine(box: Path | None, run: str | None, steps: int | None, as_json: bool, out: Path | None) -> int:
    """Diagnose, show the diagnosis and return its exit code.

    Raises:
        UserError: if the box, the file of the run or the run itself cannot be used.
    """
    if out is not None:
        check_folder(out)
        if box is not None and (out / KEPT).resolve() == box.resolve():
            raise UserError(f"--out {out} would write a box in place of {box}, which is read: choose another folder")
    found = _diagnosis(box, run, steps, out)
    page = None
    if out is not None:
        from steadystep.lab.report.doctor.report import doctor_document
        from steadystep.lab.report.document import write_document

        command = command_line("doctor", run=run, steps=steps, out=out) + (f" {shlex.quote(str(box))}" if box else "")
        page, *_ = write_document(doctor_document(found, run or str(box), command), out)
    if as_json:
        print(found.to_json())
        return found.exit_code
    console = output()
    _show(found, console)
    if page is not None:
        console.print(f"The full report: {page.resolve().as_uri()}", markup=False, highlight=False, soft_wrap=True)
    return found.exit_code


def _diagnosis(box: Path | None, run: str | None, steps: int | None, out: Path | None) -> Diagnosis:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("starting", total=1.0)

        def tell(text: str, share: float | None) -> None:
            progress.update(bar, description=text, completed=share, total=None if share is None else 1.0)

        try:
            if run is None:
                from steadystep.diagnosis.suspect import suspect

                assert box is not None
                return suspect(box)
            made = make_run(run)
            return diagnose(made, steps=steps, box=box, keep=None if out is None else out / KEPT, tell=tell)
        except (RunError, BrokenBoxError) as error:
            raise UserError(" ".join(str(error).split())) from error


def _show(found: Diagnosis, console: Console) -> None:
    from steadystep.lab.report.console_table import show_table
    from steadystep.lab.report.doctor.report import fix_sentence, fixes_table, swaps_table
    from steadystep.lab.report.lines import say

    if found.evidence:
        show_table(swaps_table(found.evidence), console)
    if found.race:
        show_table(fixes_table(found.race), console)
    if found.culprit is not None:
        say(f"Culprit: {found.culprit}, {found.place}, step {found.step}", console, "bold")
    say(found.sentence[:1].upper() + found.sentence[1:] + ".", console)
    if fix_sentence(found):
        say(fix_sentence(found), console, "bold")


def advise(box: Path | None, run: str | None, as_json: bool) -> int:
    """Print the advice on a clipping threshold; return 0.

    Raises:
        UserError: if there is no box, or it cannot be used.
    """
    if box is None:
        raise UserError("--clip reads a black box: give its folder, steadystep doctor BOX --clip")
    try:
        advice = advise_clip(box, None if run is None else make_run(run))
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error
    if as_json:
        print(json.dumps(asdict(advice), indent=2, allow_nan=False))
        return 0
    from steadystep.lab.report.console_table import show_table
    from steadystep.lab.report.doctor.report import swaps_table
    from steadystep.lab.report.lines import say

    console = output()
    show_table(swaps_table(advice.evidence), console)
    for warning in advice.warnings:
        say(f"Note: {warning}.", console, "dim")
    say(advice.sentence[:1].upper() + advice.sentence[1:] + ".", console, "bold")
    return 0
