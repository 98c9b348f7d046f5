"""Synthetic documents of every command that writes a page, made without training."""

from collections.abc import Sequence
from itertools import product

from lab_factory import ENVIRONMENT, make_record, make_task, make_trial
from steadystep.lab.cost.arms import CostArm
from steadystep.lab.cost.measure import Cost, CostResults, Times
from steadystep.lab.report.cost.report import cost_document
from steadystep.lab.report.document import Document
from steadystep.lab.report.stability.report import stability_document
from steadystep.lab.report.success.report import success_document
from steadystep.lab.stability.declare import sweep_for
from steadystep.lab.stability.run import SweepResults
from steadystep.lab.success.declare import measurement_for
from steadystep.lab.success.run import SuccessResults
from steadystep.lab.training.trial import Clip

COMMAND = "steadystep command --out " + "x" * 120


def make_sweep(lrs: Sequence[float] = (0.001, 0.003, 0.01, 0.03, 0.1), seeds: int = 3) -> Document:
    """Return a sweep of SGD and Adam with and without clipping, in which the largest rates diverge without it."""
    task = make_task()
    sweep = sweep_for(task, optimizers=["SGD", "Adam"], lrs=lrs, seeds=seeds)
    records, best = {}, {}
    for arm in sweep.arms:
        clip = Clip(kind="norm", threshold=0.5) if arm.clip else None
        limit = lrs[-1] if clip else lrs[-2]
        records[arm.name] = [
            make_record(
                make_trial(optimizer=arm.optimizer, lr=lr, clip=clip, seed=seed, role="tune"),
                accuracy=0.9 + 0.01 * lrs.index(lr),
                diverged=lr >= limit and seed > 0,
            )
            for lr, seed in product(lrs, range(seeds))
        ]
        best[arm.name] = lrs[-3]
    return stability_document(SweepResults(sweep, task, records, best), COMMAND)


def make_cost() -> Document:
    """Return the costs of many optimizers, each with and without clipping."""
    arms = [CostArm(name, clip) for name in ("SGD", "Adam", "StableAdamW", "LAMB") for clip in (None, "norm", "agc")]
    costs = tuple(
        Cost(arm, 0.5 if arm.clip else None, Times((3.0,) * 5, (1.0 + 0.1 * place,) * 5), 800)
        for place, arm in enumerate(arms)
    )
    return cost_document(CostResults(make_task(), costs, 100, 64, 5, ENVIRONMENT), COMMAND)


def make_success(seeds: int = 3) -> Document:
    """Return success rates of two cells at three lengths, in which longer sequences are harder."""
    measurement = measurement_for("rnn-latch", lengths=(10, 20, 30), seeds=seeds, tune_seeds=1, cells=("tanh", "lstm"))
    chosen, tuning, final = {}, {}, {}
    for cell, arm in product(measurement.cells, measurement.arms):
        clip = Clip(kind="norm", threshold=0.5) if arm.clip else None
        trial = make_trial(optimizer=arm.optimizer, lr=arm.lrs[0], clip=clip, role="tune")
        chosen[cell, arm.name] = trial
        tuning[cell, arm.name] = [make_record(trial)]
        for length in measurement.lengths:
            final[cell, arm.name, length] = [
                make_record(
                    make_trial(optimizer=arm.optimizer, lr=arm.lrs[0], clip=clip, seed=seed),
                    accuracy=1.0 if seed * 10 < 40 - length else 0.6,
                    diverged=seed == 0 and length == 30 and not clip,
                )
                for seed in range(seeds)
            ]
    return success_document(SuccessResults(measurement, chosen, tuning, final), COMMAND)
