"""The front page of docs/results: the paper's research questions, answered from the records beside it."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from steadystep.lab.execution.run_study import read_study
from steadystep.lab.paper.reports import read_report
from steadystep.lab.paper.row import Row
from steadystep.lab.paper.table_rows import accuracies, improvements
from steadystep.lab.report.cells import count
from steadystep.lab.report.headline import differ_in_clipping, headline
from steadystep.lab.report.markdown_parts import escape
from steadystep.lab.report.verdict_words import evidence
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.study.records import Results
from steadystep.lab.study.spec import command_for

DOCUMENTS = {"stability": "together", "success": "together", "cost": "cost"}
"""Reports of other commands by the names of their files: which question each answers."""

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=False,
    trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
)  # fmt: skip


@dataclass(frozen=True)
class Listed:
    """A report that is kept in the folder: what it is about, what it found, and where it came from."""

    name: str
    title: str
    lede: str
    page: str
    picture: str
    command: str
    origin: str = ""
    pairs: tuple[str, ...] = ()  # of a study: its arms that differ in clipping alone


def front_page(folder: Path) -> str:
    """The page, in Markdown. The same records give the same page."""
    studies = [_study(path.parent) for path in sorted(folder.glob("*/summary.md"))]
    documents = {
        kind: [_document(path) for path in sorted(folder.glob(f"*/{kind}.md"))] for kind in DOCUMENTS
    }  # fmt: skip
    answering = {
        question: [found for kind, answers in DOCUMENTS.items() if answers == question for found in documents[kind]]
        for question in set(DOCUMENTS.values())
    }
    return _environment.get_template("front_page.md.j2").render(
        table=[_row(row) for row in (*accuracies(folder), *improvements(folder))],
        studies=studies,
        answering=answering,
        shares=list(_shares(path.parent for path in sorted(folder.glob("*/summary.csv")))),
    )


def _row(row: Row) -> tuple[str, str, str]:
    """What the table says, the verdict, and what was measured or is known, for a table in Markdown."""
    found = "; ".join(source.text for source in row.evidence[:1]) or row.explanation
    said = f"{found}. {row.explanation}" if row.verdict == "not measured" and row.evidence else found
    return tuple(text.replace("|", "\\|") for text in (row.quote, row.verdict, said))  # pyright: ignore[reportReturnType]


def _study(folder: Path) -> Listed:
    results = read_study(folder)
    summary = summarise(results)
    twins = [verdict for verdict in summary.verdicts if differ_in_clipping(results, verdict)]
    return Listed(
        name=folder.name,
        title=results.task.title,
        lede=headline(results, summary),
        page=f"{folder.name}/summary.md",
        picture=f"{folder.name}/accuracy.png",
        command=command_for(results.study, results.task, f"docs/results/{folder.name}/study.json"),
        origin=_origin(results),
        pairs=tuple(f"{v.arm} vs {v.against}: **{v.verdict}**, {evidence(v, results.task)}" for v in twins),
    )


def _origin(results: Results) -> str:
    """Hardware, precision and time of a study."""
    records = [record for runs in (*results.tuning.values(), *results.final.values()) for record in runs]
    distinct = {record.trial.id: record for record in records}.values()
    minutes = sum(record.times.wall_seconds for record in distinct) / 60
    machines = _all_of(_machine(r.environment.device, r.environment.processor, r.environment.threads) for r in distinct)
    precision = _all_of(r.environment.dtype for r in distinct)
    time = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{minutes:.1f} minutes"
    return f"{len(distinct)} runs, {time} of one worker; {machines}; {precision}"


def _all_of(texts: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(texts))


def _document(page: Path) -> Listed:
    """What another command's report says of itself."""
    report = read_report(page)
    return Listed(
        name=page.parent.name,
        title=report.title,
        lede=report.found,
        page=f"{page.parent.name}/{page.name}",
        picture=f"{page.parent.name}/{page.stem}.png",
        command=next(line for line in report.lines if line.startswith("steadystep ")),
        origin=_fields(report.lines),
    )


def _fields(lines: Sequence[str]) -> str:
    """Processor, threads and precision from the page's table of its environment."""
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    found = {cell[0]: cell[1] for cell in cells if len(cell) == 2}
    return f"{_machine(found['device'], found['processor'], int(found['threads']))}; {found['dtype']}"


def _machine(device: str, processor: str, threads: int) -> str:
    """What a run was trained on."""
    return device if device != "cpu" else f"{processor}, {count(threads, 'thread')} a run"


def _shares(folders: Iterable[Path]) -> Iterator[str]:
    """Of each study, what share of a training step each arm's optimizer takes, clipping included."""
    for folder in folders:
        with (folder / "summary.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        largest = max(int(row["budget"]) for row in rows)
        shares = [
            f"{escape(row['arm'])} {100 * float(row['optimizer_ms']) / float(row['step_ms']):.0f}%"
            for row in rows
            if int(row["budget"]) == largest
        ]
        yield f"{folder.name}: {', '.join(shares)}"
