"""A table of text, independent of the output format of the report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from steadystep.lab.report.printable import printable


@dataclass(frozen=True)
class Column:
    """A column: its title, the unit of its numbers, the kind of its cells, and what its title means.

    The cells of a key column name the row. A narrow terminal splits a table by columns and repeats its key columns in
    every part. If no column of a table is a key, its first one is.
    """

    title: str
    unit: str = ""
    kind: Literal["text", "number", "verdict", "prose"] = "text"  # prose: long, may wrap between words
    group: str = ""  # columns of one group stay side by side in a narrow terminal; default: the title
    key: bool = False
    meaning: str = ""  # part of a sentence for the legend of the table
    narrow: str = ""  # the heading in two lines; default: the title with the unit below it

    @property
    def heading(self) -> str:
        """The title with the unit in brackets."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def narrow_heading(self) -> str:
        """The heading in up to two lines, for a narrow terminal."""
        return self.narrow or "\n".join(filter(None, (self.title, self.unit)))


@dataclass(frozen=True)
class Table:
    """Rows of text under columns, with words that explain them.

    `legend` explains the words of the table in one or two lines: it has the meanings of the columns and the `remark`.
    `note` is the legend with the `details`, for a page, which has more room than a terminal.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    remark: str = ""
    details: str = ""

    @classmethod
    def of(
        cls,
        title: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[str]],
        remark: str = "",
        details: str = "",
    ) -> "Table":
        """Return a table in which control characters are replaced.

        Raises:
            ValueError: if a row does not have one cell for each column.
        """
        has_key = any(column.key for column in columns)
        return cls(
            title,
            tuple(
                replace(column, title=printable(column.title), key=column.key or (place == 0 and not has_key))
                for place, column in enumerate(columns)
            ),
            tuple(tuple(printable(cell) for cell, _ in zip(row, columns, strict=True)) for row in rows),
            remark,
            details,
        )

    @property
    def keys(self) -> tuple[int, ...]:
        """The indices of the key columns."""
        return tuple(place for place, column in enumerate(self.columns) if column.key)

    @property
    def legend(self) -> str:
        """The meanings of the columns, and the remark."""
        meanings = [f"{column.title}: {column.meaning}." for column in self.columns if column.meaning]
        return " ".join(filter(None, [*meanings, self.remark]))

    @property
    def note(self) -> str:
        """The legend and the details."""
        return " ".join(filter(None, [self.legend, self.details]))

    def with_column(self, place: int, column: Column, cells: Sequence[str]) -> "Table":
        """Return the table with another column inserted at the index `place`.

        Raises:
            ValueError: if there is not one cell for each row.
        """
        columns = (*self.columns[:place], column, *self.columns[place:])
        rows = [(*row[:place], cell, *row[place:]) for row, cell in zip(self.rows, cells, strict=True)]
        return Table.of(self.title, columns, rows, self.remark, self.details)

    def without(self, title: str) -> "Table":
        """Return the table without the columns that have this title."""
        return self.select([i for i, column in enumerate(self.columns) if column.title != title])

    def select(self, places: Sequence[int]) -> "Table":
        """Return the table with only the columns at these indices."""
        return replace(
            self,
            columns=tuple(self.columns[i] for i in places),
            rows=tuple(tuple(row[i] for i in places) for row in self.rows),
        )
