"""`steadystep theory`: check the claims of the theory."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from steadystep.cli.options import Open


def theory(
    claims: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="The claims to check. (default: all)")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page to this folder, and every figure as Plotly JSON.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    open_page: Open = False,
) -> None:
    """Check the claims of the theory with the update rules of the optimizers. Exit with 1 if a status has changed."""
    from steadystep.cli.claims import check_claims
    from steadystep.cli.console import output
    from steadystep.cli.page_link import finish_with_page
    from steadystep.cli.unicode import prints_unicode
    from steadystep.lab.errors import UserError
    from steadystep.lab.report.claims import render
    from steadystep.lab.report.files import make_folder
    from steadystep.lab.report.theory_page import write_theory
    from steadystep.lab.theory import CLAIMS, find_claim

    chosen = [find_claim(name) for name in dict.fromkeys(claims or CLAIMS)]
    if open_page and (figures is None or as_json):
        raise UserError("--open opens the page that --figures DIR writes: give it, and leave out --json")
    if figures is not None:
        make_folder(figures)  # fail before the checks, not after them
    outcomes = check_claims(chosen, Console(stderr=True))
    written = write_theory(outcomes, figures) if figures is not None else []
    if as_json:
        print(json.dumps([outcome.data for outcome in outcomes], indent=2, ensure_ascii=not prints_unicode()))
    else:
        console = output()
        render(outcomes, console, in_full=bool(claims))
        for path in written:
            console.print(str(path), markup=False, highlight=False, soft_wrap=True)
        if written:
            finish_with_page(written[0], console, open_page)
    changed = [outcome for outcome in outcomes if not outcome.as_recorded]
    for outcome in changed:
        print(f"steadystep: {outcome.status_change}", file=sys.stderr)
    if changed:
        raise typer.Exit(1)
