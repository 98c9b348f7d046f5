"""Which trials are trained side by side, and which by themselves."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.recipe import Recipe
from steadystep.lab.tasks.task import Splits, Task
from steadystep.lab.training.trainer import make_optimizer
from steadystep.lab.training.trial import Option, Trial, fingerprint
from steadystep.optimizers.param_set import Hyperparameters

REPLICATED_CLIPS = ("norm", "value")
"""The clippers that replicas have; trials with others are trained by themselves."""

PLAIN = Recipe()
NOT_IN_REPLICAS = ("augment", "predict", "initialise", "restart", "average_every", "shuffled")
"""What of a recipe replicas do not do: where it differs from the plain one's, trials are trained by themselves."""

TIMED_SEED = 0
"""The final runs with this seed are trained alone: a step of theirs takes what a user's step takes."""


@dataclass(frozen=True)
class Batch:
    """Trials that are trained together: one, or several that differ in seeds and numbers alone.

    Its trials do not depend on what is on record already, so a study that was interrupted goes on with the batches
    that it had. What is on record of a batch that lacks a trial is trained once more with it, and not kept again.
    """

    trials: tuple[Trial, ...]

    @property
    def epochs(self) -> int:
        """Of all its trials together."""
        return sum(trial.epochs for trial in self.trials)

    @property
    def id(self) -> str:
        """A single trial's identity, or one that follows from those of all trials."""
        if len(self.trials) == 1:
            return self.trials[0].id
        return fingerprint(" ".join(trial.id for trial in self.trials))


def batches(trials: Iterable[Trial], replicas: int, alone: Collection[str] = ()) -> list[Batch]:
    """All trials in batches of at most so many, the longest first; `alone` names trials that are to have their own.

    The same trials make the same batches, in whatever order they come, each trial once.
    """
    kinds: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in sorted({trial.id: trial for trial in trials}.values(), key=_place):
        timed = trial.role == "final" and trial.seed == TIMED_SEED
        kind = None if replicas == 1 or timed or trial.id in alone else _kind(trial)
        kinds.setdefault(kind or (trial.id,), []).append(trial)
    found = [Batch(tuple(part)) for group in kinds.values() for part in _parts(group, replicas)]
    return sorted(found, key=lambda batch: -batch.epochs)


def obstacle(task: Task, splits: Splits) -> str:
    """Why a task's model cannot be trained in replicas; empty if it can."""
    recipe = task.recipe
    if any(getattr(recipe, part) != getattr(PLAIN, part) for part in NOT_IN_REPLICAS):
        return "is trained with more than shuffled batches"
    with torch.random.fork_rng(devices=()):
        model = task.model().train()
        before = torch.get_rng_state()
        with torch.no_grad():
            model(next(splits.train.stream(torch.arange(2), 2, 0)).x)
        if not torch.equal(torch.get_rng_state(), before):
            return "draws random numbers while it trains"
    return "keeps statistics besides its parameters" if any(True for _ in model.buffers()) else ""


def _parts(trials: Sequence[Trial], most: int) -> list[Sequence[Trial]]:
    """Parts of equal size, but for 1."""
    count = -(-len(trials) // most)
    bounds = [len(trials) * number // count for number in range(count + 1)]
    return [trials[start:end] for start, end in pairwise(bounds)]


def _place(trial: Trial) -> tuple[Any, ...]:
    return trial.lr, trial.clip.threshold if trial.clip else 0.0, trial.seed, trial.id


def _kind(trial: Trial) -> tuple[Any, ...] | None:
    """What trials must have in common to be trained together; None for one that has to be trained alone."""
    settings = _settings(trial.optimizer, tuple(sorted(trial.options.items())))
    if settings is None:
        return None
    if trial.clip and trial.clip.kind not in REPLICATED_CLIPS:
        return None
    own = trial.model_dump(exclude={"optimizer", "options", "lr", "clip", "seed"})
    return *settings, trial.clip.kind if trial.clip else None, *own.values()


@cache
def _settings(optimizer: str, options: tuple[tuple[str, Option], ...]) -> tuple[Any, ...] | None:
    """The rule that these options choose, and those of them that a step shares among all replicas."""
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
        made = make_optimizer(trial, torch.nn.Linear(1, 1))
    except UserError:
        return None  # as a trial of its own it will say so
    group = made.param_groups[0]
    rule = made.rule(group)
    if rule.sums is not None:
        return None  # its steps depend on sizes of whole tensors
    values = Hyperparameters(group).items()
    shared = [(name, value) for name, value in values if isinstance(value, bool | str) or name == "weight_decay"]
    return id(rule), *sorted(shared)
