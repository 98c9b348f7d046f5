"""A sweep of learning rates."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from reference.published.records import number, records_of, table
from reference.published.tally import Tally

INITIAL = {"digits-mlp": math.log(10), "charlm-transformer": math.log(65), "ptb-lstm": math.log(10_000)}
"""The loss of a guess, by task."""


def check_sweep(folder: Path, tally: Tally) -> None:
    """Compare the sensitivities of a sweep with what its records say; their intervals by resampling anew."""
    task = folder.name.removesuffix("-stability")
    published = {row["arm"]: row for row in table(folder / "stability_sensitivity.csv")}
    losses: dict[tuple[str, bool], dict[tuple[int, float], float]] = {}
    for record in records_of(folder):
        trial = record["trial"]
        loss = math.inf if record["outcome"] == "diverged" else number(record["val_loss"])
        cell = losses.setdefault((trial["optimizer"], bool(trial.get("clip"))), {})
        cell[trial["seed"], trial["lr"]] = min(loss, INITIAL[task]) if math.isfinite(loss) else INITIAL[task]
    random = np.random.default_rng(1)
    for (optimizer, clipped), cell in losses.items():
        name = next(arm for arm in published if arm.split(" + ")[0] == optimizer and (" + " in arm) == clipped)
        grids = [as_grid(cell)] + ([as_grid(losses[optimizer, False])] if clipped else [])
        row, drawn = published[name], random.integers(len(grids[0]), size=(4000, len(grids[0])))
        tally.same(f"{folder.name}, {name}, sensitivity", row["sensitivity"], spread(grids[0]))
        for kind, some in (("", grids[:1]), ("change_", grids)):
            if kind and not clipped:
                continue
            values = [spread(some[0][d]) - (spread(some[1][d]) if kind else 0.0) for d in drawn]
            ends = np.quantile(values, [0.025, 0.975])
            for end, value in zip(("low", "high"), ends, strict=True):
                tally.same(f"{folder.name}, {name}, {kind}{end}", row[f"{kind}{end}"], float(value), 0.01)
        if clipped:
            tally.same(f"{folder.name}, {name}, change", row["change"], spread(grids[0]) - spread(grids[1]))


def as_grid(cell: Mapping[tuple[int, float], float]) -> np.ndarray:
    """Return losses as (seeds, learning rates)."""
    seeds, rates = sorted({seed for seed, _ in cell}), sorted({lr for _, lr in cell})
    return np.array([[cell[seed, lr] for lr in rates] for seed in seeds])


def spread(losses: np.ndarray) -> float:
    """Return the mean over learning rates of the mean loss over seeds, minus the lowest one."""
    means = losses.mean(0)
    return float(means.mean() - means.min())
