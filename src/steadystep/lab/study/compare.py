"""Arms from a few words, such as ``adam,adam+clip,adamw+zclip,yogi+agc``: any optimizer with any clipper."""

import re
from collections.abc import Sequence
from typing import get_args

import numpy as np

from steadystep.lab.choices import Schedule
from steadystep.lab.errors import UserError
from steadystep.lab.named import clipper_named, optimizer_named
from steadystep.lab.study.spec import Study
from steadystep.lab.tasks.arms import Arm, geometric_grid
from steadystep.lab.tasks.clips import CLIPS
from steadystep.lab.tasks.task import Task

QUANTILES = (0.1, 0.9)
"""Of the unclipped twin's gradient norms: the thresholds that an arm tries whose clipper needs one."""

FORM = re.compile(r"(?P<optimizer>\w+)(\+(?P<clip>\w+))?(@(?P<low>[^:@]+):(?P<high>[^:@]+))?")

RELATIVE_TO_ADAM = {"Lion": 0.2, "LAMB": 4.0, "Adagrad": 8.0, "Adadelta": 300.0}
"""Learning rates of other adaptive rules, where they live elsewhere than Adam's, in Adam's."""


def comparison(
    task: Task,
    arms: str,
    *,
    settings: int = 4,
    seeds: int | None = None,
    epochs: int | None = None,
    schedule: Schedule | None = None,
) -> Study:
    """A study of these arms on this task, each tuned over the same number of settings.

    Args:
        task: what is trained.
        arms: OPTIMIZER, OPTIMIZER+CLIPPER or either with ``@LOW:HIGH``, the ends of its searched learning rates;
            separated by commas. ``clip`` is the clipper ``norm``. An arm whose threshold is taken from gradient norms
            brings its unclipped twin along.
        settings: tried for each arm, an even number. Default 4: four learning rates, or two at two thresholds each.
        seeds: paired seeds. Default: the task's.
        epochs: of every run. Default: the task's largest budget.
        schedule: of the learning rate. Default: the task's.

    Raises:
        UserError: in one line: what was given, and what is accepted.

    >>> from steadystep.lab.tasks import find_task
    >>> [arm.name for arm in comparison(find_task("digits-mlp"), "adam+clip,yogi+agc").arms]
    ['Adam', 'Adam + norm', 'Yogi + agc']
    """
    if settings < 2 or settings % 2:
        raise UserError(f"the number of settings must be even and at least 2, got {settings}")
    if schedule is not None and schedule not in get_args(Schedule):
        raise UserError(f"there is no schedule {schedule!r}: choose one of {', '.join(get_args(Schedule))}")
    read = [arm for text in arms.split(",") if text.strip() for arm in _arms(text.strip(), task, settings)]
    if not read:
        raise UserError("no arms were given: name some, such as adam,adam+clip,yogi+agc")
    return Study(
        task=task.name,
        arms=_once(read),
        seeds=seeds or task.seeds,
        tune_seeds=task.tune_seeds,
        budgets=(epochs or task.budgets[-1],),
        batch_size=task.batch_size,
        schedule=schedule or task.schedule,
        tune_epochs=task.tune_epochs,
    )


def _arms(text: str, task: Task, settings: int) -> list[Arm]:
    """The arm, after the unclipped twin that it takes its thresholds from."""
    form = FORM.fullmatch(text)
    if not form:
        raise UserError(f"cannot read the arm {text!r}: write OPTIMIZER, OPTIMIZER+CLIPPER, or either with @LOW:HIGH")
    optimizer = optimizer_named(form["optimizer"])
    clip = clipper_named(form["clip"]) if form["clip"] else None
    low, high = _range(form["low"], form["high"], text) if form["low"] else _usual(optimizer, task)
    options = next((arm.options for arm in task.arms if arm.optimizer == optimizer), {})
    lrs = geometric_grid(low, high, settings)
    unclipped = Arm(name=optimizer, optimizer=optimizer, options=options, lrs=lrs)
    if clip is None:
        return [unclipped]
    name, kind = f"{optimizer} + {clip}", CLIPS[clip]
    if kind.default is not None:
        return [unclipped.model_copy(update={"name": name, "clip": clip, "thresholds": (kind.default,)})]
    # Half as many learning rates, each at two thresholds: every second one of the twin's.
    half = {"name": name, "lrs": lrs[1::2], "clip": clip, "quantiles": QUANTILES}
    return [unclipped, unclipped.model_copy(update=half)]


def _range(low: str, high: str, text: str) -> tuple[float, float]:
    try:
        ends = float(low), float(high)
    except ValueError:
        raise UserError(f"cannot read the learning rates of {text!r}: write two numbers, such as @1e-4:1e-1") from None
    if not 0 < ends[0] < ends[1] < np.inf:
        raise UserError(f"the learning rates of {text!r} must rise and be positive")
    return ends


def _usual(optimizer: str, task: Task) -> tuple[float, float]:
    """The ends of the task's own search for this optimizer, or of Adam's, moved to where the rule lives."""
    own = [lr for arm in task.arms if arm.optimizer == optimizer for lr in arm.lrs]
    if own:
        return min(own), max(own)
    factor = RELATIVE_TO_ADAM.get(optimizer, 1.0)
    adams = [lr * factor for arm in task.arms if arm.optimizer in ("Adam", "AdamW") for lr in arm.lrs]
    return min(adams), max(adams)


def _once(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """A twin that was asked for too is there once, with the learning rates that it was given first."""
    return tuple({arm.name: arm for arm in reversed(arms)}[name] for name in dict.fromkeys(arm.name for arm in arms))
