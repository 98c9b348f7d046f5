"""What an arm tried, and which setting was best."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from reference.published.records import Record, number, of_arm, threshold_of

LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""The levels of the quantiles of gradient norms that a record stores."""


def tuned_settings(
    study: Mapping[str, Any],
    arm: Mapping[str, Any],
    budget: int,
    records: Sequence[Record],
) -> dict[tuple[float, float | None], list[Record]]:
    """Return the tuning runs of an arm by learning rate and threshold, in the order in which they were declared."""
    epochs = min(budget, study.get("tune_epochs") or budget)
    mine = [r for r in records if of_arm(r, arm) and r["trial"]["role"] == "tune" and r["trial"]["epochs"] == epochs]
    thresholds: list[float | None] = [None]
    if arm.get("clip"):
        thresholds = list(arm.get("thresholds") or ())
        if not thresholds:
            bare = (arm["optimizer"], arm["options"])
            unclipped = [other for other in study["arms"] if not other.get("clip")]
            twin = next(other for other in unclipped if (other["optimizer"], other["options"]) == bare)
            lr = rate_of_norms(study, twin, unclipped, epochs, records)
            norms = [
                r["norm_quantiles"] for r in records
                if of_arm(r, twin) and r["trial"]["role"] == "tune" and r["trial"]["lr"] == lr
                and r["trial"]["epochs"] == epochs and r["norm_quantiles"]
            ]  # fmt: skip
            thresholds = [
                float(f"{np.mean([np.interp(q, LEVELS, each) for each in norms]):.4g}") for q in arm["quantiles"]
            ]
    rates = list(arm["lrs"])
    if study.get("widen"):
        rates += sorted({r["trial"]["lr"] for r in mine} - set(rates))
    found = {(lr, c): [r for r in mine if (r["trial"]["lr"], threshold_of(r)) == (lr, c)]
             for lr in rates for c in thresholds}  # fmt: skip
    return {setting: runs for setting, runs in found.items() if runs}


def rate_of_norms(
    study: Mapping[str, Any],
    twin: Mapping[str, Any],
    unclipped: Sequence[Mapping[str, Any]],
    epochs: int,
    records: Sequence[Record],
) -> float:
    """Return the rate of the unclipped twin that was best when the clipped arms began, whose norms they use.

    Until then, all unclipped arms were widened together, as long as one of them was best at an edge of its search.
    """
    runs: dict[str, dict[float, list[Record]]] = {arm["name"]: {} for arm in unclipped}
    for arm, record in product(unclipped, records):
        trial = record["trial"]
        if of_arm(record, arm) and trial["role"] == "tune" and trial["epochs"] == epochs:
            runs[arm["name"]].setdefault(trial["lr"], []).append(record)
    each = [max(1, len(arm.get("quantiles") or ()) + len(arm.get("thresholds") or ())) for arm in study["arms"]]
    tried = {arm["name"]: sorted(arm["lrs"]) for arm in unclipped}
    for turn in range(1 + (study.get("widen") or 0)):
        top = {name: max(rates, key=lambda lr: merit(runs[name][lr])) for name, rates in tried.items()}
        if turn == (study.get("widen") or 0) or all(tried[name][0] < lr < tried[name][-1] for name, lr in top.items()):
            return top[twin["name"]]
        for name, rates in tried.items():
            place, others = rates.index(top[name]), sorted(set(runs[name]) - set(rates))
            beyond = place in (0, len(rates) - 1)
            low = -math.inf if beyond and place == 0 else rates[place - 1] if not beyond else rates[-1]
            high = rates[place + 1] if not beyond else rates[0] if place == 0 else math.inf
            near = sorted((lr for lr in others if low < lr < high), key=lambda lr: abs(math.log(lr / top[name])))
            tried[name] = sorted([*rates, *near[: math.lcm(*each)]])
    raise AssertionError("the last turn returns")


def merit(runs: Sequence[Record]) -> tuple[float, float]:
    """Return what tuning maximises: the mean validation accuracy, and then minus the mean validation loss."""
    if any(r["val_accuracy"] is None for r in runs):
        return 0.0, -math.inf
    loss = math.fsum(number(r["val_loss"]) for r in runs) / len(runs)
    return math.fsum(r["val_accuracy"] for r in runs) / len(runs), -loss if math.isfinite(loss) else -math.inf
