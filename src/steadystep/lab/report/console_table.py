"""Print a table in a terminal. No name is cut or broken over lines, at any width."""

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from steadystep.lab.report.ascii import console_text
from steadystep.lab.report.lines import say, wrapped
from steadystep.lab.report.table import Column, Table

PROSE = 24
"""Least width of a column of prose."""

BETWEEN = 3
"""Characters between two columns."""


def show_table(table: Table, console: Console, styles: Mapping[str, str] | None = None) -> None:
    """Print the table and its legend, in as few parts as the width of the console allows.

    `styles` are those of cells with these texts, such as verdicts.

    The parts divide the columns, and every part has all key columns. A console that is too narrow for the keys and one
    more column gets a line for each cell.
    """
    parts = split_to_width(table, console)
    if not parts:
        _print_records(table, console)
        _print_legend(table.legend, console)
    explained: set[str] = set()
    for part in parts:
        in_one_line = len(parts) == 1 and _fits(part, console, True)
        console.print(_rich_table(part, console, in_one_line, styles or {}))
        _print_legend(" ".join(_legend(part, explained, last=part is parts[-1])), console)


def split_to_width(table: Table, console: Console) -> list[Table]:
    """Split the table into parts that fit the width of the console; return no part if that is impossible."""
    if _fits(table, console, True) or _fits(table, console, False):
        return [table]
    keys, parts = list(table.keys), []
    for group in _groups(table):
        together = [*keys, *group]
        if parts and _fits(table.select(sorted([*parts[-1], *group])), console, False):
            parts[-1] += group
        elif _fits(table.select(sorted(together)), console, False):
            parts.append(together)
        else:
            for place in group:
                if parts and _fits(table.select(sorted([*parts[-1], place])), console, False):
                    parts[-1].append(place)
                elif _fits(table.select(sorted([*keys, place])), console, False):
                    parts.append([*keys, place])
                else:
                    return []
    return [table.select(sorted(part)) for part in parts]


def _groups(table: Table) -> Iterator[list[int]]:
    """Yield the columns that are not keys; those of one group stay side by side as far as the width allows."""
    group: list[int] = []
    for place, column in enumerate(table.columns):
        if column.key:
            continue
        if group and (column.group or column.title) != _group_of(table.columns[group[-1]]):
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def _group_of(column: Column) -> str:
    return column.group or column.title


def _legend(part: Table, explained: set[str], last: bool) -> Iterator[str]:
    """Yield the meanings of the columns that no earlier part explained, and the remark after the last part."""
    for column in part.columns:
        if column.meaning and column.title not in explained:
            explained.add(column.title)
            yield f"{column.title}: {column.meaning}."
    if last and part.remark:
        yield part.remark


def _print_legend(text: str, console: Console) -> None:
    if text:
        say(text, console, "dim")
    console.print(Text())


def _print_records(table: Table, console: Console) -> None:
    """Print every row as a block of lines, one for each cell, the key columns first."""
    others = [place for place, column in enumerate(table.columns) if not column.key]
    for row in table.rows:
        for place in (*table.keys, *others):
            say(f"{table.columns[place].heading}: {row[place]}", console, "bold" if place in table.keys else "")
        console.print(Text())


def _fits(table: Table, console: Console, in_one_line: bool) -> bool:
    least = [_least(table, place, console, in_one_line) for place in range(len(table.columns))]
    return sum(least) + BETWEEN * (len(least) - 1) <= console.width


def _least(table: Table, place: int, console: Console, in_one_line: bool) -> int:
    """Return the width that a column needs: all of it, or for prose that of its longest word or name."""
    natural = _natural(table, place, console, in_one_line)
    if table.columns[place].kind != "prose":
        return natural
    words = (line.plain for row in table.rows for line in wrapped(console_text(row[place], console), 1))
    heading = _heading(table.columns[place], console, in_one_line)
    return max([min(PROSE, natural), *map(cell_len, words), *map(cell_len, heading.splitlines())])


def _natural(table: Table, place: int, console: Console, in_one_line: bool) -> int:
    """Return the width of the widest line of a column."""
    lines = _heading(table.columns[place], console, in_one_line).splitlines()
    return max(map(cell_len, [*lines, *(console_text(row[place], console).plain for row in table.rows)]), default=0)


def _heading(column: Column, console: Console, in_one_line: bool) -> str:
    return console_text(column.heading if in_one_line else column.narrow_heading, console).plain


def _widths(table: Table, console: Console, in_one_line: bool) -> Sequence[int]:
    """Return the width of every column: what it needs, and for prose a share of the rest."""
    places = range(len(table.columns))
    widths = [_least(table, place, console, in_one_line) for place in places]
    wanted = [_natural(table, place, console, in_one_line) - widths[place] for place in places]
    rest = console.width - sum(widths) - BETWEEN * (len(widths) - 1)
    if sum(wanted) > rest:
        wanted = [rest * want // sum(wanted) for want in wanted]
    return [width + want for width, want in zip(widths, wanted, strict=True)]


def _rich_table(table: Table, console: Console, in_one_line: bool, styles: Mapping[str, str]) -> RichTable:
    style = box.ASCII2 if console.options.ascii_only else box.SIMPLE_HEAD
    rich_table = RichTable(box=style, show_edge=False, pad_edge=False)
    widths = _widths(table, console, in_one_line)
    for column, width in zip(table.columns, widths, strict=True):
        justify = "right" if column.kind == "number" else "left"
        rich_table.add_column(_heading(column, console, in_one_line), justify=justify, width=width)
    for row in table.rows:
        texts = [console_text(cell, console, styles.get(cell, "")) for cell in row]
        lines = [wrapped(text, width) for text, width in zip(texts, widths, strict=True)]
        rich_table.add_row(*(Text("\n").join(cell) for cell in lines))
    return rich_table
