"""Arithmetic on Table 1 of the paper."""

from collections.abc import Sequence
from itertools import groupby

from steadystep.lab.paper.entry import TableRow


def epoch_ratios(rows: Sequence[TableRow]) -> dict[str, tuple[float, ...]]:
    """Return, for each data set, the epochs of each technique divided by those of SGD, in the order of the table.

    >>> from steadystep.lab.paper.entry import table1
    >>> sorted(set(epoch_ratios(table1()).values()))
    [(0.6666666666666666, 1.0, 0.8)]
    """
    ratios = {}
    for dataset, group in groupby(rows, key=lambda row: row.dataset):
        epochs = {row.technique: row.epochs for row in group}
        ratios[dataset] = tuple(count / epochs["SGD"] for count in epochs.values())
    return ratios


def ratios_text(rows: Sequence[TableRow]) -> str:
    """Return the ratios as text."""
    ratios = epoch_ratios(rows)
    by_dataset = "; ".join(
        f"{dataset} {', '.join(f'{ratio:.3f}' for ratio in values)}" for dataset, values in ratios.items()
    )
    names = ", ".join(dict.fromkeys(row.technique for row in rows))
    same = " - the same everywhere" if len(set(ratios.values())) == 1 else ""
    return f"epochs divided by those of SGD ({names}): {by_dataset}{same}"
