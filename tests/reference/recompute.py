"""Recompute every published number from the raw records, with numpy and scipy alone: no code of the package is used.

`python tests/reference/recompute.py` prints the number of values that were compared and each one that differs.
"""

import csv
import gzip
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats

RESULTS = Path(__file__).parents[2] / "docs" / "results"
GUESSES = {
    "digits-mlp": 0.1, "mnist-mlp": 0.1, "mnist-mlp-augmented": 0.1, "cifar10-cnn": 0.1,
    "charlm-transformer": 0.15269, "ptb-lstm": 0.05462, "tiny-imagenet-resnet": 1 / 200,
}  # fmt: skip
"""The accuracy that a diverged run is counted with, by the part of a task's name before a colon."""
INITIAL = {"digits-mlp": math.log(10), "charlm-transformer": math.log(65), "ptb-lstm": math.log(10_000)}
"""The loss of a guess, by task."""

LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""The levels of the quantiles of gradient norms that a record stores."""

Record = Mapping[str, Any]


@dataclass
class Tally:
    """The number of values that were compared, and the ones that differ."""

    compared: int = 0
    mismatches: list[str] = field(default_factory=list)

    def same(self, what: str, published: Any, computed: Any, within: float = 1e-9) -> None:
        """Compare a published value with a computed one, relative to its size where that is above 1."""
        self.compared += 1
        if isinstance(computed, (int, float)) and not isinstance(computed, bool):
            value = float(published) if published not in ("", None) else math.nan
            if math.isnan(value) and math.isnan(computed):
                return
            if not abs(value - computed) <= within * max(1.0, abs(computed)):
                self.mismatches.append(f"{what}: published {published}, computed {computed}")
        elif str(published) != str(computed):
            self.mismatches.append(f"{what}: published {published}, computed {computed}")


def table(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def records_of(folder: Path) -> list[Record]:
    """Read the records of a published folder."""
    with gzip.open(folder / "records.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line)["record"] for line in file]


def number(value: Any) -> float:
    """Return a number of a record; "NaN" and the like are written as text."""
    return math.nan if value is None else float(value)


# A study, from its records to its verdicts.


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
            settings = tuned_settings(study, arm, budget, records, best)
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


def tuned_settings(
    study: Mapping[str, Any],
    arm: Mapping[str, Any],
    budget: int,
    records: Sequence[Record],
    best: Mapping[tuple[str, int], tuple[float, float | None]],
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


def of_arm(record: Record, arm: Mapping[str, Any]) -> bool:
    """Return whether a record has the optimizer, the options and the kind of clipper of an arm."""
    trial = record["trial"]
    clip = trial["clip"]["kind"] if trial.get("clip") else None
    return (trial["optimizer"], trial.get("options", {}), clip) == (
        arm["optimizer"],
        arm["options"],
        arm.get("clip") or None,
    )


def threshold_of(record: Record) -> float | None:
    """Return the threshold of a record's clipper."""
    return record["trial"]["clip"]["threshold"] if record["trial"].get("clip") else None


def merit(runs: Sequence[Record]) -> tuple[float, float]:
    """Return what tuning maximises: the mean validation accuracy, and then minus the mean validation loss."""
    if any(r["val_accuracy"] is None for r in runs):
        return 0.0, -math.inf
    loss = math.fsum(number(r["val_loss"]) for r in runs) / len(runs)
    return math.fsum(r["val_accuracy"] for r in runs) / len(runs), -loss if math.isfinite(loss) else -math.inf


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


def differences(first: Mapping[int, Record], second: Mapping[int, Record], last: int, guess: float) -> np.ndarray:
    """Return the differences of test accuracies on the seeds below `last` on which one of two runs finished."""

    def accuracy(record: Record) -> float:
        return guess if record["outcome"] == "diverged" else record["test_accuracy"]

    seeds = [s for s in sorted(set(first) & set(second)) if s < last]
    seeds = [s for s in seeds if "finished" in (first[s]["outcome"], second[s]["outcome"])]
    return np.array([round(accuracy(first[s]) - accuracy(second[s]), 12) for s in seeds])


def two_sided(values: np.ndarray) -> float:
    """Return the p value of the paired t test, or of the sign test without variance."""
    if len(values) < 2:
        return math.nan
    if np.ptp(values) == 0:
        return 1.0 if values[0] == 0 else 2.0 ** (1 - len(values))
    return float(stats.ttest_1samp(values, 0.0).pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def equivalence(values: np.ndarray, margin: float) -> float:
    """Return the larger p value of the two one-sided t tests."""
    if len(values) < 2:
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


def overall(p_values: Sequence[float], shares: tuple[float, ...], spending: str, sides: int) -> float:
    """Return the smallest error rate at which one of the looks so far rejects, found as a root."""
    tested = [(look, p / sides) for look, p in enumerate(p_values) if not math.isnan(p)]
    if not tested or len(shares) == 1:
        return p_values[0] if p_values else math.nan

    def root(look: int, p: float) -> float:
        def excess(log_alpha: float) -> float:
            return math.log(max(nominal(shares, math.exp(log_alpha), spending)[look], 1e-300)) - math.log(
                max(p, 1e-300)
            )

        low, high = math.log(1e-7), math.log(0.5)
        if excess(high) < 0:
            return 0.5
        return 1e-7 if excess(low) > 0 else math.exp(float(optimize.brentq(excess, low, high, xtol=1e-6)))  # pyright: ignore[reportArgumentType]

    return min(1.0, sides * min(root(look, p) for look, p in tested))


@cache
def nominal(shares: tuple[float, ...], alpha: float, spending: str) -> tuple[float, ...]:
    """Return the one-sided level of each look, by Gauss-Legendre quadrature of the paths that went on."""
    if spending == "pocock":
        spent = [alpha * math.log(1 + (math.e - 1) * share) for share in shares]
    else:
        spent = [float(2 * stats.norm.sf(stats.norm.isf(alpha / 2) / math.sqrt(share))) for share in shares]
    nodes, weights = np.polynomial.legendre.leggauss(120)
    at, mass, before, used, levels = np.zeros(1), np.ones(1), 0.0, 0.0, []
    for share, by_now in zip(shares, spent, strict=True):
        step = math.sqrt(share - before)

        def exceeds(
            bound: float, at: Any = at, mass: Any = mass, step: float = step, more: float = by_now - used
        ) -> float:
            return float(mass @ stats.norm.sf((bound - at) / step)) - more

        bound = float(optimize.brentq(exceeds, -10, 40, xtol=1e-12))  # pyright: ignore[reportArgumentType]
        levels.append(float(stats.norm.sf(bound / math.sqrt(share))))
        low = -8 * math.sqrt(share)
        points = low + (bound - low) * (nodes + 1) / 2
        density = stats.norm.pdf((points[:, None] - at[None, :]) / step) @ mass / step
        at, mass = points, density * weights * (bound - low) / 2
        before, used = share, by_now
    return tuple(levels)


# Sweeps of learning rates and success by length.


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


def check_success(folder: Path, tally: Tally) -> None:
    """Compare the numbers of successful runs with what the records say."""
    rows = table(folder / "success.csv")
    for row in rows:
        optimizer, threshold = row["arm"].split(" + ")[0], float(row["threshold"]) if row["threshold"] else None
        found = [
            r for r in records_of_success(folder)
            if r["trial"]["role"] == "final" and names_cell(r["trial"]["task"], row["cell"], int(row["length"]))
            and (r["trial"]["optimizer"], r["trial"]["lr"]) == (optimizer, float(row["lr"]))
            and threshold_of(r) == threshold
        ]  # fmt: skip
        where = f"{folder.name}, {row['cell']}, {row['arm']}, {row['length']}"
        tally.same(f"{where}, runs", row["runs"], len(found))
        won = sum(r["test_accuracy"] is not None and r["test_accuracy"] > 0.99 for r in found)
        tally.same(f"{where}, succeeded", row["succeeded"], won)
        tally.same(f"{where}, diverged", row["diverged"], sum(r["outcome"] == "diverged" for r in found))


@cache
def records_of_success(folder: Path) -> list[Record]:
    """Read the records of a measurement of success once."""
    return records_of(folder)


def names_cell(task: str, cell: str, length: int) -> bool:
    """Return whether the name of a task, such as rnn-addition:lstm:20:50, has this cell and this length."""
    return task.split(":")[1:3] == [cell, str(length)]


# What the front page says.


CLAIM = re.compile(
    r"\[(?P<folder>[\w-]+)\]\((?P=folder)/\w+\.md\)(?: \((?P<arm>[^,]+), (?P<size>[^)]*(?:\([^)]*\)[^)]*)*)\))?"
)
WORDS = {
    "better in": "better", "helps in": "better", "equivalent in": "equivalent", "makes no difference in": "equivalent",
    "worse in": "worse", "costs something in": "worse", "undecided in": "undecided", "open in": "open",
}  # fmt: skip


def check_sentences(page: str, folder: Path, tally: Tally) -> None:
    """Compare what the first lines of the front page say of each report with its records."""
    lines = [line for line in page.splitlines() if re.match(r"[123]\. \*\*", line)]
    tally.same("the number of answers", len(lines), 3)
    parts = [part for line in lines for part in re.split(rf"(?=\b(?:{'|'.join(WORDS)}) \[)", line)]
    for part in parts:
        words = next((words for words in WORDS if part.startswith(words)), None)
        for match in CLAIM.finditer(part) if words else ():
            outcomes = outcomes_of(folder / match["folder"])
            where = f"index.md: {words} {match['folder']}"
            if match["arm"] is None:
                tally.same(where, True, WORDS[words or ""] in {outcome for outcome, _ in outcomes.values()})
                continue
            arm, size = match["arm"], match["size"].replace("\\", "")
            said = [
                key
                for key, (outcome, texts) in outcomes.items()
                if (key[0], outcome) == (arm, WORDS[words or ""]) and any(text in size for text in texts)
            ]
            tally.same(f"{where}, {arm}, {size}", True, bool(said))


def outcomes_of(folder: Path) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """Return the outcome of every comparison of a report, and how its size is written."""
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    if (folder / "verdicts.csv").is_file():
        stored = json.loads((folder / "study.json").read_text())
        budget = max(stored["study"]["budgets"])
        edge = {
            row["arm"]: row["edge"] == "True" for row in table(folder / "summary.csv") if int(row["budget"]) == budget
        }
        for row in table(folder / "verdicts.csv"):
            value, low, high = (100 * float(row[f"difference{end}"]) for end in ("", "_low", "_high"))
            settled = not (edge[row["arm"]] or edge[row["against"]] or stored.get("test_seen"))
            size = f"{round(value, 2) + 0.0:+.2f} points [{round(low, 2) + 0.0:+.2f}, {round(high, 2) + 0.0:+.2f}]"
            found[row["arm"], row["against"]] = (row["verdict"] if settled else "open", [size])
    if (folder / "success.csv").is_file():
        totals: dict[tuple[str, str], list[int]] = {}
        for row in table(folder / "success.csv"):
            total = totals.setdefault((row["cell"], row["arm"]), [0, 0])
            total[0] += int(row["succeeded"])
            total[1] += int(row["runs"])
        for (cell, arm), (other_cell, other) in ((a, b) for a in totals for b in totals if a != b):
            if cell == other_cell:
                (won, runs), (before, runs_before) = totals[cell, arm], totals[cell, other]
                p = fisher(won, runs, before, runs_before)
                better = "better" if won / runs > before / runs_before else "worse"
                text = f"{won} of {runs} runs succeeded instead of {before}"
                found[f"{arm} ({cell})", other] = (better if p < 0.05 else "undecided", [text])
    if (folder / "stability_sensitivity.csv").is_file():
        for row in table(folder / "stability_sensitivity.csv"):
            if row["change"]:
                value, low, high = (float(row[name]) for name in ("change", "change_low", "change_high"))
                outcome = "better" if high < 0 else "worse" if low > 0 else "undecided"
                found[row["arm"], ""] = (outcome, [f"{value:+.3f} nats [{low:+.3f}, {high:+.3f}]"])
    return found


def fisher(won: int, runs: int, before: int, runs_before: int) -> float:
    """Return the p value of Fisher's exact test, from the hypergeometric distribution."""
    drawn = stats.hypergeom(runs + runs_before, won + before, runs)
    each = [float(drawn.pmf(k)) for k in range(won + before + 1)]  # pyright: ignore[reportAttributeAccessIssue]
    return min(1.0, sum(p for p in each if p <= each[won] * (1 + 1e-7)))


def folders(results: Path = RESULTS) -> Iterator[Path]:
    """Yield the folders of published records."""
    return (path.parent for path in sorted(results.glob("*/records.jsonl.gz")))


def check(folder: Path, tally: Tally) -> None:
    """Compare everything in a published folder."""
    if (folder / "study.json").is_file():
        check_study(folder, tally)
    elif (folder / "stability_sensitivity.csv").is_file():
        check_sweep(folder, tally)
    elif (folder / "success.csv").is_file():
        check_success(folder, tally)


def main(some: Iterable[Path] | None = None) -> int:
    """Compare everything, print what differs, and return the number of mismatches."""
    tally = Tally()
    for folder in some or folders():
        check(folder, tally)
    check_sentences((RESULTS / "index.md").read_text(encoding="utf-8"), RESULTS, tally)
    for mismatch in tally.mismatches:
        print(mismatch)
    print(f"{tally.compared:,} values compared, {len(tally.mismatches)} mismatches")
    return len(tally.mismatches)


if __name__ == "__main__":
    sys.exit(min(1, main()))
