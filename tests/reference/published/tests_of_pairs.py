"""The tests of a pair of arms at one look."""

import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

from reference.published.records import Record


def differences(first: Mapping[int, Record], second: Mapping[int, Record], last: int, guess: float) -> np.ndarray:
    """Return the differences of test accuracies on the seeds below `last` on which one of two runs finished."""

    def accuracy(record: Record) -> float:
        return guess if record["outcome"] == "diverged" else record["test_accuracy"]

    seeds = [s for s in sorted(set(first) & set(second)) if s < last]
    seeds = [s for s in seeds if "finished" in (first[s]["outcome"], second[s]["outcome"])]
    return np.array([round(accuracy(first[s]) - accuracy(second[s]), 12) for s in seeds])


def two_sided(values: np.ndarray) -> float:
    """Return the p value of the paired t test, or of the sign test without variance."""
    if len(values) < 3:
        return math.nan
    if np.ptp(values) == 0:
        return 1.0 if values[0] == 0 else 2.0 ** (1 - len(values))
    return float(stats.ttest_1samp(values, 0.0).pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def equivalence(values: np.ndarray, margin: float) -> float:
    """Return the larger p value of the two one-sided t tests."""
    if len(values) < 3:
        return math.nan
    if np.ptp(values) == 0:
        return 2.0 ** -len(values) if abs(values[0]) < margin else 1.0
    tests = [
        stats.ttest_1samp(values, side * margin, alternative="less" if side > 0 else "greater").pvalue  # pyright: ignore[reportAttributeAccessIssue]
        for side in (1, -1)
    ]
    return float(max(tests))


def holm(p_values: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Adjust p values by Holm's method."""
    adjusted, largest = dict(p_values), 0.0
    tested = sorted((pair for pair, p in p_values.items() if not math.isnan(p)), key=lambda pair: p_values[pair])
    for place, pair in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - place) * p_values[pair]))
        adjusted[pair] = largest
    return adjusted
