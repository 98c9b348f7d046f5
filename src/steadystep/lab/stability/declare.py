"""Declare a sweep: every optimizer without clipping and with each clipper, over many learning rates."""

from collections.abc import Sequence
from typing import Any

from steadystep.lab.errors import UserError
from steadystep.lab.stability.grid import grid_around
from steadystep.lab.study.explain import one_line_errors
from steadystep.lab.study.spec import Study
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.clips import CLIPS
from steadystep.lab.tasks.names import match_name, resolve_clipper, resolve_optimizer
from steadystep.lab.tasks.task import Task


def sweep_for(
    task: Task,
    *,
    optimizers: Sequence[str] = (),
    clips: Sequence[str] = ("norm",),
    lrs: Sequence[float] = (),
    seeds: int = 3,
    epochs: int | None = None,
    quantile: float = 0.5,
) -> Study:
    """Declare a sweep as a study of which only the tuning phase is run, so that no run reads the test split.

    Args:
        task: the task to train.
        optimizers: names of the task's unclipped arms, which are used with their options, or names of optimizers.
            Default: all unclipped arms of the task.
        clips: names of clippers. Default: "norm".
        lrs: learning rates of all arms. Default: `grid_around` the learning rates that the task declares for the
            optimizer.
        seeds: number of runs at each learning rate. Default 3.
        epochs: epochs of each run. Default: those that the task declares for sweeps, or its largest budget.
        quantile: the clipping threshold is this quantile of the gradient norms of the unclipped runs at their best
            learning rate. A clipper with a dimensionless parameter uses its authors' default instead. Default 0.5.

    Raises:
        UserError: if a name is unknown, or if no learning rates are known for an optimizer.
    """
    unclipped = {arm.name: arm for arm in task.arms if not arm.clip}
    clips = list(dict.fromkeys(map(resolve_clipper, clips)))
    arms = []
    known = (match_name(name, unclipped) or resolve_optimizer(name) for name in optimizers or unclipped)
    with one_line_errors():
        for name in dict.fromkeys(known):
            base = _base(name, task, unclipped, tuple(lrs))
            arms += [base, *(_clipped(base, clip, quantile) for clip in clips)]
        return Study(
            task=task.name,
            arms=tuple(arms),
            seeds=seeds,
            tune_seeds=seeds,
            budgets=(epochs or task.sweep_epochs or task.budgets[-1],),
            batch_size=task.batch_size,
            schedule=task.schedule,
        )


def _base(name: str, task: Task, unclipped: dict[str, Arm], lrs: tuple[float, ...]) -> Arm:
    """Return the unclipped arm with this name, else an arm of the optimizer with this name, else a default arm."""
    declared = unclipped.get(name) or next((arm for arm in unclipped.values() if arm.optimizer == name), None)
    if declared:
        return Arm(
            name=name,
            optimizer=declared.optimizer,
            options=declared.options,
            lrs=lrs or grid_around(declared.lrs),
        )
    if not lrs:
        raise UserError(
            f"{task.name} declares no learning rates for {name}: set them with --lrs LOW:HIGH:POINTS, or choose one of "
            f"{', '.join(unclipped)}"
        )
    return Arm(name=name, optimizer=name, lrs=lrs)


def _clipped(base: Arm, clip: str, quantile: float) -> Arm:
    """Return the arm with this clipper added."""
    default = CLIPS[clip].default
    thresholds: dict[str, Any] = {"quantiles": (quantile,)} if default is None else {"thresholds": (default,)}
    return Arm(
        name=f"{base.name} + {clip}",
        optimizer=base.optimizer,
        options=base.options,
        lrs=base.lrs,
        clip=clip,
        **thresholds,
    )
