"""Print the report of a study in a terminal."""

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from steadystep.lab.report.ascii import console_text
from steadystep.lab.report.cells import count, printable
from steadystep.lab.report.headline import headline
from steadystep.lab.report.notes import notes
from steadystep.lab.report.tables import Table, results_table
from steadystep.lab.report.verdict_words import evidence
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results

COLORS = {"better": "green", "worse": "red", "equivalent": "cyan", "undecided": "yellow"}


def render(results: Results, summary: Summary, console: Console) -> None:
    """Print the results table, a verdict for each pair and the notes, with colours if the console is a terminal."""
    main = results_table(results, summary)

    def text(content: str, style: str = "") -> Text:
        return console_text(printable(content), console, style)

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
    """Print the table, split into several parts if the console is too narrow for it."""
    for part in split_to_width(table, console):
        console.print(_rich_table(part, console), Text())


def split_to_width(table: Table, console: Console) -> list[Table]:
    """Split the table into parts that fit the width of the console. Each part starts with the column of row names."""
    parts: list[list[int]] = [[0]]
    groups = [column.group or column.title for column in table.columns]
    for i in range(1, len(table.columns)):
        parts[-1].append(i)
        if len(parts[-1]) > 2 and _width(table.select(parts[-1]), console) > console.width:
            # The columns of one group stay side by side.
            first = groups.index(groups[i])
            parts[-1] = [j for j in parts[-1] if j < first]
            parts.append([0, *range(first, i + 1)])
    return [table.select(part) for part in parts]


def _width(table: Table, console: Console) -> int:
    options = console.options.update(max_width=10_000)
    return Measurement.get(console, options, _rich_table(table, console)).maximum


def _rich_table(table: Table, console: Console) -> RichTable:
    style = box.ASCII2 if console.options.ascii_only else box.SIMPLE_HEAD
    rich_table = RichTable(box=style, show_edge=False, pad_edge=False)
    for column in table.columns:
        header = console_text(f"{column.title}\n{column.unit}" if column.unit else column.title, console)
        rich_table.add_column(header, justify="right" if column.kind == "number" else "left", overflow="fold")
    for row in table.rows:
        rich_table.add_row(*(console_text(cell, console) for cell in row))
    return rich_table
