"""Make a study from a short list of arms such as ``adam,adam+clip,adamw+zclip,yogi+agc``: optimizers with clippers."""

import re
from typing import Literal

import numpy as np

from steadystep.lab.choices import Schedule
from steadystep.lab.errors import UserError
from steadystep.lab.study.explain import one_line_errors
from steadystep.lab.study.spec import Study, seeds_of
from steadystep.lab.tasks.arms import Arm, geometric_grid
from steadystep.lab.tasks.clips import CLIPS
from steadystep.lab.tasks.names import resolve_clipper, resolve_optimizer
from steadystep.lab.tasks.task import Task

QUANTILES = (0.1, 0.9)
"""Quantiles of the unclipped twin's gradient norms: the thresholds to try for a clipper that needs a threshold."""

FORM = re.compile(r"(?P<optimizer>\w+)(\+(?P<clip>\w+))?(@(?P<low>[^:@]+):(?P<high>[^:@]+))?")


def comparison(
    task: Task,
    arms: str,
    *,
    settings: int = 4,
    seeds: int | Literal["auto"] | None = None,
    epochs: int | None = None,
    schedule: Schedule | None = None,
) -> Study:
    """Return a study of these arms on this task, each tuned over the same number of settings.

    Args:
        task: The task to train.
        arms: Arms separated by commas: OPTIMIZER or OPTIMIZER+CLIPPER, either with ``@LOW:HIGH``, the range of its
            learning rates. ``clip`` means the clipper ``norm``. For an arm whose threshold is computed from gradient
            norms, its unclipped twin is added to the study.
        settings: Settings tried for each arm, an even number. Default 4: four learning rates, or two learning rates
            with two thresholds each.
        seeds: Number of paired seeds, or "auto": more of them until every pair is decided. Default: the task's.
        epochs: Epochs of every run. Default: the task's largest budget.
        schedule: Learning-rate schedule. Default: the task's.

    Raises:
        UserError: if an argument is invalid; the message is one line with the given and the accepted values.

    >>> from steadystep.lab.tasks import find_task
    >>> [arm.name for arm in comparison(find_task("digits-mlp"), "adam+clip,yogi+agc").arms]
    ['Adam', 'Adam + norm', 'Yogi + agc']
    """
    if settings < 2 or settings % 2:
        raise UserError(f"the number of settings must be even and at least 2, got {settings}")
    with one_line_errors():
        return Study(
            task=task.name,
            arms=_read_arms(arms, task, settings),
            **seeds_of(task, seeds),
            tune_seeds=task.tune_seeds,
            budgets=(task.budgets[-1] if epochs is None else epochs,),
            batch_size=task.batch_size,
            schedule=schedule or task.schedule,
            widen=task.widen,
        )


def _read_arms(text: str, task: Task, settings: int) -> tuple[Arm, ...]:
    """Return the arms, with the unclipped twin of an arm before it unless the text names the twin itself."""
    named: dict[str, tuple[str, Arm]] = {}  # by name: what was written, and the arm
    twins: dict[str, Arm] = {}
    order: list[str] = []
    for part in (part.strip() for part in text.split(",") if part.strip()):
        arm, twin = _parse_arm(part, task, settings)
        if arm.name in named:
            raise UserError(f"the arm {arm.name} is given twice, as {named[arm.name][0]!r} and {part!r}: leave one out")
        named[arm.name] = part, arm
        if twin:
            twins.setdefault(twin.name, twin)
            order.append(twin.name)
        order.append(arm.name)
    if not named:
        raise UserError("no arms were given: name some, such as adam,adam+clip,yogi+agc")
    return tuple(named[name][1] if name in named else twins[name] for name in dict.fromkeys(order))


def _parse_arm(text: str, task: Task, settings: int) -> tuple[Arm, Arm | None]:
    """Return the arm, and its unclipped twin if its thresholds come from the twin's gradient norms."""
    form = FORM.fullmatch(text)
    if not form:
        raise UserError(f"cannot read the arm {text!r}: write OPTIMIZER, OPTIMIZER+CLIPPER, or either with @LOW:HIGH")
    optimizer = resolve_optimizer(form["optimizer"])
    clip = resolve_clipper(form["clip"]) if form["clip"] else None
    low, high = _parse_range(form["low"], form["high"], text) if form["low"] else task.learning_rates(optimizer)
    options = next((arm.options for arm in task.arms if arm.optimizer == optimizer), {})
    lrs = geometric_grid(low, high, settings)
    unclipped = Arm(name=optimizer, optimizer=optimizer, options=options, lrs=lrs)
    if clip is None:
        return unclipped, None
    name, kind = f"{optimizer} + {clip}", CLIPS[clip]
    if kind.default is not None:
        return unclipped.model_copy(update={"name": name, "clip": clip, "thresholds": (kind.default,)}), None
    # Every second learning rate of the twin, each with two thresholds: the same number of settings.
    fields = {"name": name, "lrs": lrs[1::2], "clip": clip, "quantiles": QUANTILES}
    return unclipped.model_copy(update=fields), unclipped


def _parse_range(low: str, high: str, text: str) -> tuple[float, float]:
    try:
        ends = float(low), float(high)
    except ValueError:
        raise UserError(f"cannot read the learning rates of {text!r}: write two numbers, such as @1e-4:1e-1") from None
    if not 0 < ends[0] < ends[1] < np.inf:
        raise UserError(f"the learning rates of {text!r} must be positive and increasing")
    return ends
