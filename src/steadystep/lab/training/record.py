"""The record of a trial: its measurements. A record is written once and never changed."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from steadystep.lab.training.trial import Trial

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Levels of the quantiles of the gradient norms of all steps that a record stores."""


Share = Annotated[float, Field(ge=0, le=1)]
"""An accuracy."""


def _one_of_each(quantiles: tuple[float, ...]) -> tuple[float, ...]:
    if len(quantiles) not in (0, len(QUANTILES)):
        raise ValueError(f"there must be {len(QUANTILES)} quantiles or none, not {len(quantiles)}")
    return quantiles


NormQuantiles = Annotated[tuple[float, ...], AfterValidator(_one_of_each)]
"""One value for each of QUANTILES; none if no step was measured."""


class _Frozen(BaseModel):
    # JSON has no NaN and no infinity; pydantic writes them as strings and reads them back.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Curve(_Frozen):
    """Measurements with one entry per epoch. The curve of a diverged run ends with its last completed epoch."""

    train_loss: tuple[float, ...] = ()
    val_loss: tuple[float, ...] = ()
    val_accuracy: tuple[float, ...] = ()  # fraction of 1
    norm_before: tuple[float, ...] = ()  # median gradient norm of the epoch's steps, before clipping
    norm_after: tuple[float, ...] = ()  # median gradient norm of the epoch's steps, after clipping
    clip_rate: tuple[float, ...] = ()  # fraction of the epoch's steps that were scaled down


class Times(_Frozen):
    """Measured times: the only numbers of a record that differ between two runs of the same trial.

    For a trial that was trained together with others, each time is its share: the time of the whole batch divided by
    the number of trials. Such times show the cost of a study, but not the time of a step of one model.
    """

    wall_seconds: float  # the whole trial, interruptions not counted
    step_ms: float  # median of one training step: batch, forward, backward, optimizer
    optimizer_ms: float  # median of the optimizer's share of it, clipping included


class Environment(_Frozen):
    """The software and hardware that the trial ran on."""

    steadystep: str
    python: str
    torch: str
    numpy: str
    platform: str
    processor: str
    cores: int
    threads: int
    memory_gib: float
    device: str
    dtype: str


class Record(_Frozen):
    """The outcome of one trial. Accuracies are fractions of 1; `test_*` is None for tune trials and diverged runs."""

    trial: Trial
    outcome: Literal["finished", "diverged"]
    reason: str = ""  # why it counts as diverged
    steps: int  # training steps taken
    parameters: int
    flops: float  # floating-point operations of all training steps, forward and backward, without the optimizer's
    curve: Curve
    norm_quantiles: NormQuantiles  # quantiles of the norms before clipping over all steps, at QUANTILES
    clip_rate: float  # fraction of all steps that were scaled down
    val_accuracy: Share | None
    val_loss: float | None
    test_accuracy: Share | None = None
    test_loss: float | None = None
    test_also: dict[str, float] = {}  # further test metrics of the task, such as top-5
    times: Times
    environment: Environment
    replicas: int = 1  # number of trials that were trained side by side, including this one; 1: trained alone
    ranks: int = 1  # number of processes that trained this trial together
