"""Decide which trials are trained side by side and which are trained alone."""

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import torch

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.fields import Option
from steadystep.lab.tasks.recipe import Recipe
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.trainer import make_optimizer
from steadystep.lab.training.trial import Trial
from steadystep.lab.training.trial_batch import TrialBatch
from steadystep.optimizers.param_set import Hyperparameters

REPLICATED_CLIPS = ("norm", "value")
"""The clippers that replicas support; trials with other clippers are trained alone."""

DEFAULT_RECIPE = Recipe()
NOT_IN_REPLICAS = ("augment", "predict", "initialise", "restart", "average_every", "shuffled")
"""The recipe fields that replicas do not support; trials whose recipe changes one of the defaults are trained alone."""

TIMED_SEED = 0
"""The final runs with this seed are trained alone, so that their step time is that of a single model."""


def plan_batches(trials: Iterable[Trial], replicas: int, alone: Collection[str] = ()) -> list[TrialBatch]:
    """Divide the trials into batches of at most `replicas` trials, and return the batches, longest first.

    The same trials give the same batches, regardless of their order and of duplicates. `alone` contains the ids of
    trials that are trained alone.
    """
    groups: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in sorted({trial.id: trial for trial in trials}.values(), key=_sort_key):
        timed = trial.role == "final" and trial.seed == TIMED_SEED
        key = None if replicas == 1 or timed or trial.id in alone else _group_key(trial)
        groups.setdefault(key or (trial.id,), []).append(trial)
    batches = [TrialBatch(tuple(part)) for group in groups.values() for part in _split(group, replicas)]
    return sorted(batches, key=lambda batch: -batch.epochs)


def replication_obstacle(task: Task, splits: Splits) -> str:
    """Return why a task's model cannot be trained in replicas, or "" if it can."""
    recipe = task.recipe
    if any(getattr(recipe, name) != getattr(DEFAULT_RECIPE, name) for name in NOT_IN_REPLICAS):
        return "is trained with more than shuffled batches"
    with torch.random.fork_rng(devices=()):
        model = task.model().train()
        before = torch.get_rng_state()
        with torch.no_grad():
            model(next(splits.train.stream(torch.arange(2), 2, 0)).x)
        if not torch.equal(torch.get_rng_state(), before):
            return "draws random numbers during training"
    return "has buffers besides its parameters" if any(True for _ in model.buffers()) else ""


def _split(trials: Sequence[Trial], largest: int) -> list[Sequence[Trial]]:
    """Split the trials into the fewest parts of at most `largest` trials, with sizes that differ by at most 1."""
    count = -(-len(trials) // largest)
    bounds = [len(trials) * number // count for number in range(count + 1)]
    return [trials[start:end] for start, end in pairwise(bounds)]


def _sort_key(trial: Trial) -> tuple[Any, ...]:
    return trial.lr, trial.clip.threshold if trial.clip else 0.0, trial.seed, trial.id


def _group_key(trial: Trial) -> tuple[Any, ...] | None:
    """Return a key that is equal for trials that can be trained together; None if the trial must be trained alone."""
    settings = _shared_settings(trial.optimizer, tuple(sorted(trial.options.items())))
    if settings is None:
        return None
    if trial.clip and trial.clip.kind not in REPLICATED_CLIPS:
        return None
    other_fields = trial.model_dump(exclude={"optimizer", "options", "lr", "clip", "seed"})
    return *settings, trial.clip.kind if trial.clip else None, *other_fields.values()


@cache
def _shared_settings(optimizer: str, options: tuple[tuple[str, Option], ...]) -> tuple[Any, ...] | None:
    """Return the rule's id and the option values that replicas must share; None if the trial must be trained alone."""
    trial = Trial(
        task="",
        data="",
        optimizer=optimizer,
        options=dict(options),
        lr=1.0,
        epochs=1,
        batch_size=1,
        seed=0,
        role="tune",
    )
    try:
        instance = make_optimizer(trial, torch.nn.Linear(1, 1))
    except UserError:
        return None  # the trial is then run alone and raises the error itself
    if instance.policy.nonfinite != "raise" or "backend" in trial.options or "state_dtype" in trial.options:
        return None  # replicas refuse gradients that are not finite, and have a kernel of their own, with float32 state
    group = instance.param_groups[0]
    rule = instance.rule(group)
    if rule.sums is not None:
        return None  # the rule needs sums over whole tensors
    values = Hyperparameters(group).items()
    shared = [(name, value) for name, value in values if isinstance(value, bool | str) or name == "weight_decay"]
    return id(rule), *sorted(shared)
