"""A study, from its records to its verdicts."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from reference.published.records import Record, number, of_arm, records_of, table, threshold_of
from reference.published.tally import Tally
from reference.published.tuning import merit, tuned_settings
from reference.published.verdicts import verdicts

GUESSES = {
    "digits-mlp": 0.1, "mnist-mlp": 0.1, "mnist-mlp-augmented": 0.1, "cifar10-cnn": 0.1,
    "charlm-transformer": 0.15269, "ptb-lstm": 0.05462, "tiny-imagenet-resnet": 1 / 200,
}  # fmt: skip
"""The accuracy that a diverged run is counted with, by the part of a task's name before a colon."""


def check_study(folder: Path, tally: Tally) -> None:
    """Compare the tables of a study with what its records say."""
    study = json.loads((folder / "study.json").read_text())["study"]
    for arm in study["arms"]:
        arm["name"] = arm["name"].replace(" + clip", " + norm")  # the former name of the same arm
    records = records_of(folder)
    guess = GUESSES[study["task"].split(":")[0]]
    rows = {(row["arm"], int(row["budget"])): row for row in table(folder / "summary.csv")}
    best: dict[tuple[str, int], tuple[float, float | None]] = {}
    final: dict[tuple[str, int], dict[int, Record]] = {}
    for arm in sorted(study["arms"], key=lambda arm: bool(arm.get("clip"))):
        for budget in study["budgets"]:
            key, row = (arm["name"], budget), rows[arm["name"], budget]
            settings = tuned_settings(study, arm, budget, records)
            best[key] = max(settings, key=lambda setting: merit(settings[setting]))
            lr, threshold = best[key]
            final[key] = {
                r["trial"]["seed"]: r
                for r in records
                if of_arm(r, arm) and r["trial"]["role"] == "final" and r["trial"]["epochs"] == budget
                and (r["trial"]["lr"], threshold_of(r)) == (lr, threshold)
                and r["trial"]["seed"] >= study.get("first_seed", 0)
            }  # fmt: skip
            check_arm(f"{folder.name}, {arm['name']}, {budget}", row, settings, best[key], final[key], tally)
    published = {(row["arm"], row["against"]): row for row in table(folder / "verdicts.csv")}
    names = [arm["name"] for arm in study["arms"]]
    runs = {name: final[name, study["budgets"][-1]] for name in names}
    margin = float(next(iter(published.values()))["margin"]) if published else 0.0
    computed = verdicts(study, names, runs, guess, margin)
    tally.same(f"{folder.name}: the pairs", sorted(published), sorted(computed))
    sequential = 3e-3 if study.get("until_decided") else 1e-9
    for pair, row in published.items():
        for name, value in computed[pair].items():
            within = sequential if name.startswith("p_") else 1e-9
            tally.same(f"{folder.name}, {' vs '.join(pair)}, {name}", row[name], value, within)


def check_arm(
    where: str,
    row: Mapping[str, str],
    settings: Mapping[tuple[float, float | None], Sequence[Record]],
    best: tuple[float, float | None],
    final: Mapping[int, Record],
    tally: Tally,
) -> None:
    """Compare a row of summary.csv with what was computed."""
    finished = [r for r in final.values() if r["outcome"] == "finished"]
    tests = np.array([r["test_accuracy"] for r in finished], float)
    rates = {lr for lr, _ in settings}
    tally.same(f"{where}, lr", row["lr"], best[0])
    tally.same(f"{where}, threshold", row["threshold"], math.nan if best[1] is None else best[1])
    tally.same(f"{where}, edge", row["edge"], best[0] in (min(rates), max(rates)))
    tally.same(f"{where}, runs", row["runs"], len(final))
    tally.same(f"{where}, diverged", row["diverged"], len(final) - len(finished))
    tally.same(f"{where}, tuning runs", row["tuning_runs"], sum(map(len, settings.values())))
    tally.same(f"{where}, test accuracy", row["test_accuracy"], float(tests.mean()) if len(tests) else math.nan)
    if len(tests) >= 3 and np.ptp(tests) > 0:
        half = float(stats.t.ppf(0.975, len(tests) - 1) * stats.sem(tests))
        if half <= tests.mean() <= 1 - half:
            tally.same(f"{where}, test accuracy, low", row["test_accuracy_low"], float(tests.mean()) - half)
            tally.same(f"{where}, test accuracy, high", row["test_accuracy_high"], float(tests.mean()) + half)
    validated = [r["val_accuracy"] for r in finished if r["val_accuracy"] is not None]
    tally.same(
        f"{where}, validation accuracy", row["val_accuracy"], float(np.mean(validated)) if validated else math.nan
    )
    clipped = [number(r["clip_rate"]) for r in final.values() if not math.isnan(number(r["clip_rate"]))]
    tally.same(f"{where}, clip rate", row["clip_rate"], float(np.mean(clipped)) if clipped else math.nan)
