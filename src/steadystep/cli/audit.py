"""`steadystep audit`: verdicts on the statements of the paper."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def audit(
    results: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of published studies. (default: the studies in the package)"),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Run the theory checks that rows refer to, instead of showing recorded statuses."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Judge the paper's claims, equations, citations, method and numbers, each with its evidence."""
    from steadystep.cli.claims import check_claims
    from steadystep.cli.console import output
    from steadystep.cli.unicode import prints_unicode
    from steadystep.lab.errors import UserError
    from steadystep.lab.paper import audit as audit_paper
    from steadystep.lab.report.audit import render
    from steadystep.lab.system.paths import path_problem
    from steadystep.lab.theory import CLAIMS, RECORDED

    if results is not None and not results.is_dir():
        problem = path_problem(results / "mnist-mlp") or f"there is no folder {results}"
        raise UserError(f"{problem}: pass the folder that contains studies such as mnist-mlp")
    rows, changed = audit_paper(results), []
    if check:
        cited = {source.reference for row in rows for source in row.evidence if source.kind == "theory"}
        outcomes = check_claims([claim for name, claim in CLAIMS.items() if name in cited], Console(stderr=True))
        rows = audit_paper(results, {**RECORDED, **{checked.claim.id: checked.evidence.status for checked in outcomes}})
        changed = [outcome for outcome in outcomes if not outcome.as_recorded]
    if as_json:
        print(json.dumps([row.data for row in rows], indent=2, ensure_ascii=not prints_unicode()))
    else:
        render(rows, output())
    for outcome in changed:
        print(f"steadystep: {outcome.status_change}", file=sys.stderr)
    if changed:
        raise typer.Exit(1)
