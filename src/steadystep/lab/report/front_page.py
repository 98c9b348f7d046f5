"""Render the front page of docs/results, which answers the paper's research questions from the published records."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from steadystep.lab.counted import count
from steadystep.lab.execution.run_study import read_study
from steadystep.lab.paper.reports import read_report
from steadystep.lab.paper.results import summary_rows
from steadystep.lab.paper.row import Row
from steadystep.lab.paper.table_rows import accuracies, improvements
from steadystep.lab.report.answers import answers
from steadystep.lab.report.cells import NOTHING, seconds, share
from steadystep.lab.report.headline import differ_in_clipping, differ_in_moments, headline
from steadystep.lab.report.markdown_parts import escape
from steadystep.lab.report.tuning_words import tuning_budget
from steadystep.lab.report.verdict_words import evidence
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.statistics.summary import Verdict
from steadystep.lab.study.records import Results
from steadystep.lab.study.spec import command_for, load_study

DOCUMENTS = {"stability": "together", "success": "together", "cost": "cost"}
"""The question that the report of another command answers, by the stem of its file name."""

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=False,
    trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
)  # fmt: skip


@dataclass(frozen=True)
class ReportEntry:
    """The entry of one published report."""

    name: str
    title: str
    lede: str
    page: str
    picture: str
    command: str
    origin: str = ""  # number and time of the runs, hardware and precision
    pairs: tuple[str, ...] = ()  # the verdicts on the arms of a study that differ in clipping only
    moments: tuple[str, ...] = ()  # and on those that differ in the dtype of their moments only
    tuning: tuple[str, ...] = ()  # the cells of its row in the table of tuning budgets


def front_page(folder: Path) -> str:
    """Return the page as Markdown. The same records always give the same page."""
    studies = [_study(path.parent) for path in sorted(folder.glob("*/summary.md"))]
    documents = {
        kind: [_document(path) for path in sorted(folder.glob(f"*/{kind}.md"))] for kind in DOCUMENTS
    }  # fmt: skip
    answering = {
        question: [entry for kind, answered in DOCUMENTS.items() if answered == question for entry in documents[kind]]
        for question in set(DOCUMENTS.values())
    }
    return _environment.get_template("front_page.md.j2").render(
        answers=answers(folder),
        declared=[
            _declared(path) for path in sorted((folder.parent / "studies").glob("*.yaml")) if not _has_run(path, folder)
        ],
        table=[_row(row) for row in (*accuracies(folder), *improvements(folder))],
        studies=studies,
        answering=answering,
        shares=list(_shares(path.parent for path in sorted(folder.glob("*/summary.csv")))),
    )


def _row(row: Row) -> tuple[str, str, str]:
    """Return the quote, the verdict, and the measured or known result, for a table in Markdown."""
    result = "; ".join(source.text for source in row.evidence[:1]) or row.explanation
    if row.verdict == "not measured" and row.evidence:
        result = f"{result}. {row.explanation}"
    return tuple(text.replace("|", "\\|") for text in (row.quote, row.verdict, result))  # pyright: ignore[reportReturnType]


def _study(folder: Path) -> ReportEntry:
    results = read_study(folder)
    summary = summarise(results)

    def verdicts(belongs: Callable[[Results, Verdict], bool]) -> tuple[str, ...]:
        pairs = [verdict for verdict in summary.verdicts if belongs(results, verdict)]
        return tuple(
            f"{escape(v.arm)} vs {escape(v.against)}: **{v.verdict}**, {evidence(v, results.task)}" for v in pairs
        )

    return ReportEntry(
        name=folder.name,
        title=results.task.title,
        lede=escape(headline(results, summary)),
        page=f"{folder.name}/summary.md",
        picture=f"{folder.name}/accuracy.png",
        command=command_for(results.study, results.task, f"docs/results/{folder.name}/study.json"),
        origin=_origin(results),
        tuning=_tuning(results),
        pairs=verdicts(differ_in_clipping),
        moments=verdicts(differ_in_moments),
    )


def _tuning(results: Results) -> tuple[str, ...]:
    """Return the cells of the study in the table of tuning budgets."""
    spent = tuning_budget(results)
    short = f" of {spent.final_epochs}" if spent.epochs < spent.final_epochs else ""
    return (
        f"{spent.settings}{f' ({spent.added} added)' if spent.added > 0 else ''}",
        str(spent.seeds),
        f"{spent.epochs}{short}",
        str(spent.arm_epochs),
        escape(", ".join(spent.edge)) or "none",
        f"declared when {count(results.test_seen, 'test result')} existed" if results.test_seen else "–",
    )


def _has_run(declaration: Path, folder: Path) -> bool:
    """Return whether the folder has the results of a declared study."""
    published = folder / declaration.stem / "study.json"
    if not published.is_file():
        return False
    run = load_study(published)
    return load_study(declaration).model_copy(update={"dtype": run.dtype}) == run  # the machine chooses the precision


def _declared(declaration: Path) -> tuple[str, str]:
    """Return the name of a declared study, and why it was declared, from the comment at its top."""
    lines = declaration.read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines)]
    return declaration.stem, " ".join(comment)


def _origin(results: Results) -> str:
    """Return the number of runs of a study, their total time, the hardware and the precision as text."""
    records = [record for runs in (*results.tuning.values(), *results.final.values()) for record in runs]
    distinct = {record.trial.id: record for record in records}.values()
    machines = _join_distinct(
        _machine(r.environment.device, r.environment.processor, r.environment.threads) for r in distinct
    )
    precision = _join_distinct(r.environment.dtype for r in distinct)
    time = seconds(sum(record.times.wall_seconds for record in distinct))
    return f"{count(len(distinct), 'run')}, {time} of one worker; {machines}; {precision}"


def _join_distinct(texts: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(texts))


def _document(page: Path) -> ReportEntry:
    """Return the entry for a report that another command wrote, read from its Markdown page."""
    report = read_report(page)
    return ReportEntry(
        name=page.parent.name,
        title=report.title,
        lede=report.answer,
        page=f"{page.parent.name}/{page.name}",
        picture=f"{page.parent.name}/{page.stem}.png",
        command=next(line for line in report.lines if line.startswith("steadystep ")),
        origin=_environment_text(report.lines),
    )


def _environment_text(lines: Sequence[str]) -> str:
    """Return the processor, the number of threads and the precision from the environment table of a page."""
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    fields = {cell[0]: cell[1] for cell in cells if len(cell) == 2}
    return f"{_machine(fields['device'], fields['processor'], int(fields['threads']))}; {fields['dtype']}"


def _machine(device: str, processor: str, threads: int) -> str:
    """Return the hardware on which a run was trained."""
    return device if device != "cpu" else f"{processor}, {count(threads, 'thread')} per run"


def _shares(folders: Iterable[Path]) -> Iterator[str]:
    """Yield, for each study, the share of a training step that the optimizer of each arm takes, including clipping."""
    for folder in folders:
        shares = [
            f"{escape(row['arm'])} {_percent_of(row['optimizer_ms'], row['step_ms'])}" for row in summary_rows(folder)
        ]
        yield f"{folder.name}: {', '.join(shares)}"


def _percent_of(part: str, whole: str) -> str:
    """Return a part of a time in percent, or a dash if the time was not measured."""
    text = share(float(part), float(whole))
    return text if text == NOTHING else f"{text}%"
