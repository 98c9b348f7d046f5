"""A study's report in a terminal."""

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from steadystep.lab.report.ascii import ASCII
from steadystep.lab.report.cells import count, printable
from steadystep.lab.report.headline import headline
from steadystep.lab.report.notes import notes
from steadystep.lab.report.tables import Table, results_table
from steadystep.lab.report.verdict_words import evidence
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results

COLORS = {"better": "green", "worse": "red", "equivalent": "cyan", "undecided": "yellow"}


def render(results: Results, summary: Summary, console: Console) -> None:
    """The results, a verdict for each pair, and what to beware of; without colours where there is no terminal."""
    plain = console.options.ascii_only
    main = results_table(results, summary)

    def text(words: str, style: str = "") -> Text:
        shown = printable(words)
        return Text(shown.translate(ASCII) if plain else shown, style=style)

    seeds = count(results.study.seeds, "paired seed")
    console.print(text(f"{results.task.title}: {main.title.lower()}, {seeds}", "bold"))
    show_table(main, console)
    for verdict in summary.verdicts:
        line = text(f"{verdict.arm} vs {verdict.against}: ")
        line.append(verdict.verdict, style=f"bold {COLORS[verdict.verdict]}")
        console.print(line.append_text(text(f", {evidence(verdict, results.task)}")))
    if not summary.verdicts:
        console.print(text(headline(results, summary)))
    for note in notes(results, summary):
        console.print(text(f"Note: {note}", "dim"))


def show_table(table: Table, console: Console) -> None:
    """The table, in as many parts as the console is too narrow for it."""
    for part in fitting(table, console):
        console.print(_rich(part, console), Text())


def fitting(table: Table, console: Console) -> list[Table]:
    """The table, or parts of it that fit the console's width, each led by the column that names the rows."""
    parts: list[list[int]] = [[0]]
    for i in range(1, len(table.columns)):
        parts[-1].append(i)
        if len(parts[-1]) > 2 and _width(_columns(table, parts[-1]), console) > console.width:
            # Columns of one title, such as epochs by two definitions, stay side by side.
            first = next(j for j in range(i + 1) if table.columns[j].title == table.columns[i].title)
            parts[-1] = [j for j in parts[-1] if j < first]
            parts.append([0, *range(first, i + 1)])
    return [_columns(table, part) for part in parts]


def _columns(table: Table, keep: list[int]) -> Table:
    return Table(
        table.title,
        tuple(table.columns[i] for i in keep),
        tuple(tuple(row[i] for i in keep) for row in table.rows),
        table.note,
    )


def _width(table: Table, console: Console) -> int:
    options = console.options.update(max_width=10_000)
    return Measurement.get(console, options, _rich(table, console)).maximum


def _rich(table: Table, console: Console) -> RichTable:
    plain = console.options.ascii_only
    drawn = RichTable(box=box.ASCII2 if plain else box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in table.columns:
        header = Text(f"{column.title}\n{column.unit}" if column.unit else column.title)
        drawn.add_column(header, justify="right" if column.kind == "number" else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(cell.translate(ASCII) if plain else cell) for cell in row))
    return drawn
