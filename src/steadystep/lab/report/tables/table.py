"""A table as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from steadystep.lab.report.cells import printable


@dataclass(frozen=True)
class Column:
    """A column: its title, the unit of its numbers, and how its cells are to be read."""

    title: str
    unit: str = ""
    kind: Literal["text", "number", "verdict", "prose"] = "text"  # prose: long, may wrap

    @property
    def heading(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True)
class Table:
    """Rows of text under columns; the first column names the row. `note` says how to read it."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    @classmethod
    def of(cls, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], note: str = "") -> "Table":
        """A table without control characters in it.

        Raises ValueError where a row has not one cell for each column.
        """
        return cls(
            title,
            tuple(Column(printable(column.title), column.unit, column.kind) for column in columns),
            tuple(tuple(printable(cell) for cell, _ in zip(row, columns, strict=True)) for row in rows),
            note,
        )

    def with_column(self, place: int, column: Column, cells: Sequence[str]) -> "Table":
        """The same table with a column more, at this place.

        Raises ValueError where there is not one cell for each row.
        """
        columns = (*self.columns[:place], column, *self.columns[place:])
        rows = [(*row[:place], cell, *row[place:]) for row, cell in zip(self.rows, cells, strict=True)]
        return Table.of(self.title, columns, rows, self.note)

    def without(self, title: str) -> "Table":
        """The same table with one column left out."""
        keep = [i for i, column in enumerate(self.columns) if column.title != title]
        return Table(
            self.title,
            tuple(self.columns[i] for i in keep),
            tuple(tuple(row[i] for i in keep) for row in self.rows),
            self.note,
        )
