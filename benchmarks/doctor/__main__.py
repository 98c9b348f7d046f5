"""`python -m benchmarks.doctor`: diagnose planted failures, public-like cases and healthy runs, and score it.

Records go to benchmarks/results/doctor.jsonl, one by one; the same command takes up a stopped run, and measures again
what the sources have changed. The tables of docs/doctor-benchmark.md are written at the end.
"""

from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.doctor.healthy import COUNT
from benchmarks.doctor.healthy import healthy as healthy_run
from benchmarks.doctor.judge import judge
from benchmarks.doctor.planted import PLANTED
from benchmarks.doctor.records import Key, Record, Records
from benchmarks.doctor.reports import FILES
from benchmarks.doctor.score import groups, score, write_page

PROCESSES = 2
BASELINES = 60
"""Healthy runs on which the other tools are tried, which take longer than a diagnosis."""
QUICK = 20
"""Healthy runs of --quick."""


def main(
    only: Annotated[list[str] | None, typer.Option(help="Only these cases or classes; may be repeated.")] = None,
    planted: Annotated[bool, typer.Option("--planted", help="Only the planted failures.")] = False,
    healthy: Annotated[int, typer.Option(help="Number of healthy runs.", min=0, max=COUNT)] = COUNT,
    quick: Annotated[bool, typer.Option("--quick", help=f"At most {QUICK} healthy runs, and no baselines.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the planted failures: their places and steps.", min=0)] = 0,
    again: Annotated[bool, typer.Option("--again", help="Measure again what is recorded.")] = False,
) -> None:
    """Diagnose all runs of the benchmark in two processes, and write the scores."""
    names = {case.name for case in (*PLANTED, *FILES)}
    known = names | {case.culprit for case in PLANTED}
    for name in only or ():
        if name not in known:
            raise typer.BadParameter(f"no case or class is called {name!r}: one of {', '.join(sorted(known))}")
    wanted = lambda name, *culprits: not only or bool({name, *culprits} & {*only})  # noqa: E731
    cases: list[Key] = [("planted", case.name, seed) for case in PLANTED if wanted(case.name, case.culprit)]
    if not planted:
        cases += [(case.kind, case.name, 0) for case in FILES if wanted(case.name)]
    runs = 0 if only or planted else min(healthy, QUICK) if quick else healthy
    cases += [("healthy", healthy_run(number).name, number) for number in range(runs)]
    if not quick:
        judged = [case for case in cases if case[0] == "planted" or (case[0] == "healthy" and case[2] < BASELINES)]
        cases += [(f"baselines {kind}", name, number) for kind, name, number in judged]

    records = Records()
    console = Console()
    _measure(cases if again else records.missing(cases), records, console)
    measured = [records.all[case] for case in cases]
    _print(measured, console)
    write_page()


def _measure(cases: list[Key], records: Records, console: Console) -> None:
    with (
        Progress(console=console) as progress,
        ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool,
    ):
        bar = progress.add_task("runs", total=len(cases))
        try:
            for future in as_completed([pool.submit(judge, case) for case in cases]):
                record = future.result()
                records.add(record)
                progress.advance(bar)
                if (line := _complaint(record)) is not None:
                    console.print(line)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def _complaint(record: Record) -> str | None:
    """Return a line about a diagnosis that is not right."""
    if record["kind"].startswith("baselines"):
        return None
    if "error" in record:
        return f"{record['kind']} {record['name']} {record['seed']}: {record['error'].strip().splitlines()[-1]}"
    expected = record["expected"] or [None]
    if record["culprit"] in expected:
        return None
    said = f"{record['culprit']} at {record['place']}: {record['sentence']}" if record["culprit"] else "nothing"
    return f"{record['kind']} {record['name']} {record['seed']}: expected {expected[0] or 'nothing'}, said {said}"


def _print(records: list[Record], console: Console) -> None:
    table = Table("runs", "no.", "class", "place", "fix", "none", "wrong", "errors", "s")
    for name, group in groups(records).items():
        if group:
            s = score(group)
            cells = (s.runs, s.culprit, s.place, s.verified, s.abstained, s.wrong, s.errors, f"{s.seconds:.1f}")
            table.add_row(name, *map(str, cells))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
