"""Synthetic studies with plausible numbers, made without training, for tests of everything that reads results."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any, Literal, NoReturn

import numpy as np
import torch

from steadystep.lab.study.records import Cell, Results
from steadystep.lab.study.spec import Arm, Study
from steadystep.lab.tasks.task import Claim, Task
from steadystep.lab.training.record import QUANTILES, Curve, Environment, Record, Times
from steadystep.lab.training.trial import Clip, Trial

ARMS = (
    Arm(name="SGD", optimizer="SGD", options={"momentum": 0.9}, lrs=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
    Arm(name="Adam", optimizer="Adam", lrs=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
    Arm(name="Adam + clip", optimizer="Adam", lrs=(3e-4, 1e-3, 3e-3), clip="norm", quantiles=(0.5, 0.9)),
)
ACCURACY = {"SGD": 0.93, "Adam": 0.955, "Adam + clip": 0.957}
"""Mean final accuracy of each arm at the largest of the default budgets."""

EXAMPLES = 360
"""Examples in the validation split and in the test split; accuracies are multiples of 1 / EXAMPLES."""

STEPS = 23
"""Steps per epoch."""

NORMS = tuple(math.exp(0.6 * NormalDist().inv_cdf(level)) for level in QUANTILES)
"""Quantiles of the gradient norms before clipping; the norms are lognormal with median 1."""

ENVIRONMENT = Environment(
    steadystep="0.1.0",
    python="3.11.0",
    torch="2.6.0",
    numpy="2.0.0",
    platform="Linux",
    processor="made up",
    cores=2,
    threads=2,
    memory_gib=8.0,
    device="cpu",
    dtype="float32",
)


def _no_data(_: Path | None) -> NoReturn:
    raise NotImplementedError("a synthetic task has no data")


def make_task(**fields: Any) -> Task:
    """Return a ten-class task with the declared values of a small real one; keywords replace its fields."""
    task = Task(
        name="made-up",
        title="Made-up digits, MLP",
        dataset="no data set: made-up records",
        classes=10,
        load=_no_data,
        model=lambda: torch.nn.Linear(64, 10),
        arms=ARMS,
        batch_size=64,
        budgets=(1, 2, 4),
        seeds=10,
        tune_seeds=2,
        margin=0.005,
        target_accuracy=0.93,
        target_loss=0.25,
        claims={"SGD": Claim(0.981, 15), "Adam": Claim(0.989, 12), "Adam + clip": Claim(0.995, 10)},
    )
    return replace(task, **fields)


def make_trial(**fields: Any) -> Trial:
    """Return a final run of Adam for 4 epochs; keywords replace its fields."""
    defaults: dict[str, Any] = {
        "task": "made-up",
        "data": "0123456789abcdef",
        "optimizer": "Adam",
        "lr": 1e-3,
        "epochs": 4,
        "batch_size": 64,
        "seed": 0,
        "role": "final",
    }
    return Trial(**(defaults | fields))


def make_curve(
    epochs: int, accuracy: float, *, chance: float = 0.1, speed: float = 4, clip: Clip | None = None
) -> Curve:
    """Return a curve with one entry per epoch that rises from `chance` to `accuracy`, faster for a higher `speed`."""
    left = [math.exp(-speed * epoch / epochs) - math.exp(-speed) for epoch in range(1, epochs + 1)]
    loss = [2.3 * (1 - accuracy) + 2 * share for share in left]
    norms = [1 + 2 * share for share in left]
    return Curve(
        train_loss=tuple(loss),
        val_loss=tuple(1.2 * value for value in loss),
        val_accuracy=tuple(_rounded(accuracy - (accuracy - chance) * share) for share in left),
        norm_before=tuple(norms),
        norm_after=tuple(min(norm, clip.threshold) if clip else norm for norm in norms),
        clip_rate=(_clip_rate(clip),) * epochs,
    )


def make_record(trial: Trial | None = None, *, accuracy: float = 0.95, diverged: bool = False, **fields: Any) -> Record:
    """Return a record of `trial` that ends with `accuracy` on both splits; keywords replace its fields.

    A diverged run stops in the middle of its budget and has no final numbers.
    """
    trial = trial or make_trial()
    completed = trial.epochs // 2 if diverged else trial.epochs
    speed = (3 if trial.optimizer == "SGD" else 4) + (1 if trial.clip else 0)
    curve = make_curve(trial.epochs, _rounded(accuracy), speed=speed, clip=trial.clip)
    if diverged:
        curve = Curve(**{name: values[:completed] for name, values in curve.model_dump().items()})
    steps = completed * STEPS + (7 if diverged else 0)
    final = trial.role == "final" and not diverged
    optimizer_ms = 0.12 if trial.optimizer == "SGD" else 0.2
    if trial.clip:
        optimizer_ms += 0.03
    defaults: dict[str, Any] = {
        "trial": trial,
        "outcome": "diverged" if diverged else "finished",
        "reason": f"the loss is nan at step {steps}" if diverged else "",
        "steps": steps,
        "parameters": 51_000,
        "flops": steps * 6.0 * 51_000 * trial.batch_size,
        "curve": curve,
        "norm_quantiles": NORMS,
        "clip_rate": _clip_rate(trial.clip),
        "val_accuracy": None if diverged else curve.val_accuracy[-1],
        "val_loss": None if diverged else curve.val_loss[-1],
        "test_accuracy": _rounded(accuracy) if final else None,
        "test_loss": curve.val_loss[-1] if final else None,
        "times": Times(wall_seconds=0.1 + 0.002 * steps, step_ms=1.0 + optimizer_ms, optimizer_ms=optimizer_ms),
        "environment": ENVIRONMENT,
    }
    return Record(**(defaults | fields))


def make_results(
    *,
    arms: Sequence[Arm] = ARMS,
    budgets: Sequence[int] = (1, 2, 4),
    seeds: int = 10,
    tune_seeds: int = 2,
    accuracy: Mapping[str, float] = ACCURACY,
    diverged: Mapping[str, Collection[int]] | None = None,
    task: Task | None = None,
) -> Results:
    """Return a finished study; by default it has three arms, three budgets and ten seeds, and no final run diverged.

    `accuracy` is each arm's mean at the largest budget. Each halving of the budget costs 3 points of accuracy, and
    each step away from the middle learning rate of the search costs 2. A part of the noise depends on the seed only, so
    that it is shared by all arms, as in paired runs. `diverged` lists, for each arm, the seeds whose final runs diverge
    at every budget. In tuning, the largest learning rate of every unclipped arm diverges.
    """
    study = Study(
        task="made-up",
        arms=tuple(arms),
        seeds=seeds,
        tune_seeds=tune_seeds,
        budgets=tuple(budgets),
        batch_size=64,
    )
    chosen: dict[Cell, Trial] = {}
    tuning: dict[Cell, Sequence[Record]] = {}
    final: dict[Cell, Sequence[Record]] = {}
    for arm, budget in product(study.arms, study.budgets):
        cell = (arm.name, budget)
        at_budget = accuracy[arm.name] - 0.03 * math.log2(study.epochs / budget)
        settings = [_trials(arm, lr, clip, budget, tune_seeds, "tune") for lr, clip in _search(arm)]
        tuned = [
            [
                make_record(
                    trial,
                    accuracy=at_budget - _detuned(arm, trial.lr) + _noise(trial),
                    diverged=trial.lr == max(arm.lrs) and arm.clip is None,
                )
                for trial in trials
            ]
            for trials in settings
        ]
        best = max(tuned, key=lambda records: fmean(record.val_accuracy or 0 for record in records))[0].trial
        diverging_seeds = (diverged or {}).get(arm.name, ())
        chosen[cell] = best
        tuning[cell] = [record for records in tuned for record in records]
        final[cell] = [
            make_record(trial, accuracy=at_budget + _noise(trial), diverged=trial.seed in diverging_seeds)
            for trial in _trials(arm, best.lr, best.clip, budget, seeds, "final")
        ]
    return Results(study=study, task=task or make_task(), chosen=chosen, tuning=tuning, final=final)


def resample_as_aa(results: Results, arm: str, rng: np.random.Generator) -> Results:
    """Return the study with the headline runs of every arm resampled from those of `arm`, so that no two arms differ.

    As many runs as before are drawn with replacement. Each drawn run gets the seed of the run that it replaces.
    """
    headline = results.study.epochs
    pool = results.final[arm, headline]
    seeds = [record.trial.seed for record in pool]

    def resample() -> list[Record]:
        picks = rng.integers(len(pool), size=len(pool))
        return [_with_seed(pool[pick], seed) for pick, seed in zip(picks, seeds, strict=True)]

    resampled = {(other.name, headline): resample() for other in results.study.arms}
    return replace(results, final={**results.final, **resampled})


def _with_seed(record: Record, seed: int) -> Record:
    return record.model_copy(update={"trial": record.trial.model_copy(update={"seed": seed})})


def _search(arm: Arm) -> list[tuple[float, Clip | None]]:
    """Return the declared settings, whose thresholds are quantiles of the norms that all synthetic records share."""
    if arm.clip is None:
        return [(lr, None) for lr in arm.lrs]
    clips = [Clip(kind=arm.clip, threshold=NORMS[QUANTILES.index(level)]) for level in arm.quantiles]
    return list(product(arm.lrs, clips))


def _trials(
    arm: Arm, lr: float, clip: Clip | None, epochs: int, seeds: int, role: Literal["tune", "final"]
) -> list[Trial]:
    first = 1000 if role == "tune" else 0
    return [
        make_trial(
            optimizer=arm.optimizer,
            options=arm.options,
            lr=lr,
            clip=clip,
            epochs=epochs,
            seed=seed,
            role=role,
        )
        for seed in range(first, first + seeds)
    ]


def _detuned(arm: Arm, lr: float) -> float:
    return 0.02 * abs(arm.lrs.index(lr) - len(arm.lrs) // 2)


def _noise(trial: Trial) -> float:
    """Return noise of about half a point: a part shared by all trials of a seed, and a part for this trial only."""
    by_seed, by_trial = np.random.default_rng(trial.seed), np.random.default_rng(int(trial.id, 16))
    return 0.003 * by_seed.standard_normal() + 0.004 * by_trial.standard_normal()


def _rounded(accuracy: float) -> float:
    return round(min(accuracy, 1.0) * EXAMPLES) / EXAMPLES


def _clip_rate(clip: Clip | None) -> float:
    return 1 - NormalDist().cdf(math.log(clip.threshold) / 0.6) if clip else 0.0
