"""The verdict on every pair of arms."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from reference.published.looks import overall
from reference.published.records import Record
from reference.published.tests_of_pairs import differences, equivalence, holm, two_sided


def verdicts(
    study: Mapping[str, Any],
    names: Sequence[str],
    runs: Mapping[str, Mapping[int, Record]],
    guess: float,
    margin: float,
) -> dict[tuple[str, str], dict[str, Any]]:
    """Judge every pair of arms, at each look of the design until it is decided."""
    design = study.get("until_decided") or {}
    looks = [study["seeds"], *design.get("looks", [])]
    shares = tuple(look / looks[-1] for look in looks)
    pairs = [(second, first) for first, second in combinations(names, 2)]
    p_values: dict[tuple[str, str], tuple[list[float], list[float]]] = {pair: ([], []) for pair in pairs}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for number_of_look, look in enumerate(looks):
        last = study.get("first_seed", 0) + look
        for pair in [p for p in pairs if p not in found or found[p]["verdict"] == "undecided"]:
            if number_of_look and any(len(runs[name]) < look for name in pair):
                continue
            values = differences(runs[pair[0]], runs[pair[1]], last, guess)
            for p, test in zip(p_values[pair], (two_sided(values), equivalence(values, margin)), strict=True):
                p.append(test)
            found[pair] = {
                "pairs": len(values),
                "difference": float(values.mean()),
                "values": values,
                "at": number_of_look,
            }
        different = holm(
            {pair: overall(p[0], shares, design.get("spending", "pocock"), 2) for pair, p in p_values.items()}
        )
        equal = holm({pair: overall(p[1], shares, design.get("spending", "pocock"), 1) for pair, p in p_values.items()})
        for pair in [pair for pair in pairs if found[pair]["at"] == number_of_look]:
            row = found[pair]
            undecided = "better" if row["difference"] > 0 else "worse"
            row["verdict"] = (
                "equivalent" if equal[pair] < 0.05 else undecided if different[pair] < 0.05 else "undecided"
            )
            row |= {"p_difference": different[pair], "p_equivalence": equal[pair]}
    for row in found.values():
        values = row.pop("values")
        row.pop("at")
        row["improvement"] = float(np.mean(np.where(values > 0, 1.0, np.where(values < 0, 0.0, 0.5))))
        if len(values) >= 3 and np.ptp(values) > 0:
            half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
            row["difference_low"], row["difference_high"] = row["difference"] - half, row["difference"] + half
    return found
