"""What Table 1 says about itself."""

from collections.abc import Sequence
from itertools import groupby

from steadystep.lab.paper.entry import TableRow


def epoch_ratios(rows: Sequence[TableRow]) -> dict[str, tuple[float, ...]]:
    """By data set, each technique's epochs over those of SGD, in the table's order.

    >>> from steadystep.lab.paper.entry import table1
    >>> sorted(set(epoch_ratios(table1()).values()))
    [(0.6666666666666666, 1.0, 0.8)]
    """
    ratios = {}
    for dataset, group in groupby(rows, key=lambda row: row.dataset):
        epochs = {row.technique: row.epochs for row in group}
        ratios[dataset] = tuple(count / epochs["SGD"] for count in epochs.values())
    return ratios


def says(rows: Sequence[TableRow]) -> str:
    """The ratios in words."""
    ratios = epoch_ratios(rows)
    listed = "; ".join(f"{dataset} {', '.join(f'{ratio:.3f}' for ratio in found)}" for dataset, found in ratios.items())
    names = ", ".join(dict.fromkeys(row.technique for row in rows))
    same = " - the same everywhere" if len(set(ratios.values())) == 1 else ""
    return f"epochs over SGD's ({names}): {listed}{same}"
