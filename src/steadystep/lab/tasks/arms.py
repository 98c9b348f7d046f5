"""Arms: what a comparison compares, and the search space that each gets."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Option = float | bool | tuple[float, ...]


class Arm(BaseModel):
    """One column of the comparison: an optimizer, clipped or not.

    `lrs` is the declared search space of its learning rate. A clipped arm searches `lrs` x `quantiles`: each
    threshold is that quantile of the gradient norms that its unclipped twin met at its best learning rate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    optimizer: str
    options: dict[str, Option] = {}
    lrs: tuple[Positive, ...] = Field(min_length=1)
    clip: Literal["norm", "value"] | None = None
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()

    @property
    def configurations(self) -> int:
        """How many settings its tuning tries."""
        return len(self.lrs) * (len(self.quantiles) if self.clip else 1)

    @model_validator(mode="after")
    def _a_clipped_arm_has_thresholds_to_try(self) -> "Arm":
        if bool(self.clip) != bool(self.quantiles):
            raise ValueError(f"arm {self.name!r}: clip and quantiles go together, one without the other was given")
        return self


def paper_arms(
    sgd: tuple[float, float], adam: tuple[float, float], settings: int, quantiles: Sequence[float]
) -> tuple[Arm, ...]:
    """SGD, Adam, and Adam with clipping by global norm, each tuned over the same number of settings.

    `sgd` and `adam` are the smallest and largest learning rate, searched on a logarithmic grid of `settings` points;
    the clipped arm spends the same number on a coarser grid over the same range, once for each quantile.
    """
    coarse, remainder = divmod(settings, len(quantiles))
    assert not remainder, f"{settings} settings do not divide into {len(quantiles)} quantiles"
    return (
        Arm(name="SGD", optimizer="SGD", lrs=_grid(*sgd, settings)),
        Arm(name="Adam", optimizer="Adam", lrs=_grid(*adam, settings)),
        Arm(name="Adam + clip", optimizer="Adam", lrs=_grid(*adam, coarse), clip="norm", quantiles=tuple(quantiles)),
    )


def _grid(low: float, high: float, points: int) -> tuple[float, ...]:
    # Rounded, so that a trial's identity does not hang on the last digit of a power.
    return tuple(float(f"{lr:.3g}") for lr in np.geomspace(low, high, points))
