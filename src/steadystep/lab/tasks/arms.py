"""Arms: the optimizer configurations that a study compares, each with its search space."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.clips import CLIPS
from steadystep.lab.tasks.fields import Option, PositiveSettings, ShareSettings
from steadystep.lab.tasks.names import resolve_clipper, resolve_optimizer
from steadystep.lab.tasks.optimizer_options import check_options, effective_options


def _as_value_error(resolve: Callable[[str], str]) -> Callable[[str], str]:
    """Return a function that looks a name up and raises the error as one that pydantic reports with its field."""

    def resolved(name: str) -> str:
        try:
            return resolve(name)
        except UserError as error:
            raise ValueError(str(error)) from None

    return resolved


def _visible(name: str) -> str:
    if not name.strip():
        raise ValueError("an arm needs a name, which its tables and pictures show")
    return name


class Arm(BaseModel):
    """One column of the comparison: an optimizer, with or without clipping.

    `lrs` is the declared search space of the learning rate. A clipped arm searches `lrs` x `quantiles`: each threshold
    is the given quantile of the gradient norms that the unclipped twin of the arm recorded at its best learning rate.
    A clipper with a dimensionless parameter, such as AGC's ratio, searches `lrs` x `thresholds` instead.

    Optimizer and clipper may be written in any case. Options are what the optimizer's constructor takes: numbers,
    true or false, lists of numbers, or words such as that of `variant`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(_visible)]
    optimizer: Annotated[str, AfterValidator(_as_value_error(resolve_optimizer))]
    options: dict[str, Option] = {}
    lrs: Annotated[PositiveSettings, Field(min_length=1)]
    clip: Annotated[str, AfterValidator(_as_value_error(resolve_clipper))] | None = None
    quantiles: ShareSettings = ()
    thresholds: PositiveSettings = ()

    @property
    def configurations(self) -> int:
        """The number of settings that tuning tries."""
        return len(self.lrs) * (len(self.quantiles or self.thresholds) if self.clip else 1)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes two arms the same one under two names, apart from the values that they search."""
        return self.optimizer, *sorted(effective_options(self.optimizer, self.options).items()), self.clip

    @model_validator(mode="after")
    def _check_options(self) -> "Arm":
        try:
            check_options(self.optimizer, self.options)
        except UserError as error:
            raise ValueError(f"arm {self.name!r}: {error}") from None
        return self

    @model_validator(mode="after")
    def _check_clipping(self) -> "Arm":
        if self.clip is None:
            if self.quantiles or self.thresholds:
                raise ValueError(f"arm {self.name!r} has thresholds but no clip")
        elif bool(self.quantiles) == bool(self.thresholds):
            raise ValueError(f"arm {self.name!r}: clip {self.clip} needs quantiles or thresholds, and only one of them")
        elif self.quantiles and not CLIPS[self.clip].from_norms:
            raise ValueError(
                f"arm {self.name!r}: the parameter of {self.clip} is not a gradient norm; declare thresholds instead "
                "of quantiles"
            )
        return self


def current_name(name: str) -> str:
    """Return the name of an arm with the name that its clipper has on the command line.

    Earlier versions called clipping by global norm "clip" in the names of the tasks' arms.

    >>> current_name("Adam + clip"), current_name("SGD + clip 0.25"), current_name("Adam + agc")
    ('Adam + norm', 'SGD + norm 0.25', 'Adam + agc')
    """
    return re.sub(r" \+ clip\b", " + norm", name)


def paper_arms(
    sgd: tuple[float, float], adam: tuple[float, float], settings: int, quantiles: Sequence[float]
) -> tuple[Arm, ...]:
    """Return SGD, Adam, and Adam with clipping by global norm, each tuned over the same number of settings.

    `sgd` and `adam` are the smallest and largest learning rate of a logarithmic grid of `settings` points. The clipped
    arm has as many settings in total: a coarser grid over the same range for each quantile.
    """
    coarse, remainder = divmod(settings, len(quantiles))
    assert not remainder, f"{settings} settings do not divide into {len(quantiles)} quantiles"
    return (
        Arm(name="SGD", optimizer="SGD", lrs=geometric_grid(*sgd, settings)),
        Arm(name="Adam", optimizer="Adam", lrs=geometric_grid(*adam, settings)),
        Arm(
            name="Adam + norm",
            optimizer="Adam",
            lrs=geometric_grid(*adam, coarse),
            clip="norm",
            quantiles=tuple(quantiles),
        ),
    )


def geometric_grid(low: float, high: float, points: int) -> tuple[float, ...]:
    """Return a geometric grid of learning rates from low to high, rounded to 3 significant digits.

    >>> geometric_grid(0.001, 0.1, 5)
    (0.001, 0.00316, 0.01, 0.0316, 0.1)
    """
    # Rounded so that a trial's identity does not depend on the last digit of a power.
    return tuple(float(f"{lr:.3g}") for lr in np.geomspace(low, high, points))
