"""A table of text, independent of the output format of the report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from steadystep.lab.report.cells import printable


@dataclass(frozen=True)
class Column:
    """A column: its title, the unit of its numbers, and the kind of its cells."""

    title: str
    unit: str = ""
    kind: Literal["text", "number", "verdict", "prose"] = "text"  # prose: long, may wrap
    group: str = ""  # columns of one group stay side by side in a narrow terminal; default: the title

    @property
    def heading(self) -> str:
        """The title with the unit in brackets."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True)
class Table:
    """Rows of text under columns. The first column names the rows; `note` explains the columns."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    @classmethod
    def of(cls, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], note: str = "") -> "Table":
        """Return a table in which control characters are replaced.

        Raises:
            ValueError: if a row does not have one cell for each column.
        """
        return cls(
            title,
            tuple(replace(column, title=printable(column.title)) for column in columns),
            tuple(tuple(printable(cell) for cell, _ in zip(row, columns, strict=True)) for row in rows),
            note,
        )

    def with_column(self, place: int, column: Column, cells: Sequence[str]) -> "Table":
        """Return the table with another column inserted at the index `place`.

        Raises:
            ValueError: if there is not one cell for each row.
        """
        columns = (*self.columns[:place], column, *self.columns[place:])
        rows = [(*row[:place], cell, *row[place:]) for row, cell in zip(self.rows, cells, strict=True)]
        return Table.of(self.title, columns, rows, self.note)

    def without(self, title: str) -> "Table":
        """Return the table without the columns that have this title."""
        return self.select([i for i, column in enumerate(self.columns) if column.title != title])

    def select(self, places: Sequence[int]) -> "Table":
        """Return the table with only the columns at these indices."""
        return Table(
            self.title,
            tuple(self.columns[i] for i in places),
            tuple(tuple(row[i] for i in places) for row in self.rows),
            self.note,
        )
