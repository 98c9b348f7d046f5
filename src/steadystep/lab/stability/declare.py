"""What a sweep compares: every optimizer without clipping and with each clipper, over many learning rates."""

from collections.abc import Sequence
from typing import Any

from steadystep.lab.errors import UserError
from steadystep.lab.named import clipper_named, optimizer_named
from steadystep.lab.stability.grid import grid_around
from steadystep.lab.study.spec import Study
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.clips import CLIPS
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
    """A sweep, declared as a study of which only the tuning is run: no run reads the test split.

    Args:
        task: what is trained.
        optimizers: names of the task's unclipped arms, whose options then hold, or of optimizers. Default: all the
            unclipped arms.
        clips: names of clippers. Default: "norm".
        lrs: the learning rates of all arms. Default: `grid_around` those that the task declares for the optimizer.
        seeds: runs at each learning rate. Default 3.
        epochs: of each run. Default: that of the task's tuning runs, or its largest budget.
        quantile: a clip threshold is this quantile of the gradient norms that the unclipped runs met at their best
            learning rate; a clipper whose number has no unit takes its authors'. Default 0.5.

    Raises:
        UserError: for names that there are not, and where an optimizer's learning rates are not known.
    """
    unclipped = {arm.name: arm for arm in task.arms if not arm.clip}
    clips = list(dict.fromkeys(map(clipper_named, clips)))
    arms = []
    known = (name if name in unclipped else optimizer_named(name) for name in optimizers or unclipped)
    for name in dict.fromkeys(known):
        base = _base(name, task, unclipped, tuple(lrs))
        arms += [base, *(_clipped(base, clip, quantile) for clip in clips)]
    return Study(
        task=task.name,
        arms=tuple(arms),
        seeds=seeds,
        tune_seeds=seeds,
        budgets=(epochs or task.tune_epochs or task.budgets[-1],),
        batch_size=task.batch_size,
        schedule=task.schedule,
    )


def _base(name: str, task: Task, unclipped: dict[str, Arm], lrs: tuple[float, ...]) -> Arm:
    """The unclipped arm of that name; else that of the optimizer of that name; else the optimizer by itself."""
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
            f"{task.name} declares no learning rates for {name}: give them with --lrs LOW:HIGH:POINTS, or choose of "
            f"{', '.join(unclipped)}"
        )
    return Arm(name=name, optimizer=name, lrs=lrs)


def _clipped(base: Arm, clip: str, quantile: float) -> Arm:
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
