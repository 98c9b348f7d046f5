"""A record: what one trial measured. Written once, never changed."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from steadystep.lab.training.trial import Trial

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""The levels at which a record keeps the distribution of the gradient norms of all its steps."""


class _Frozen(BaseModel):
    # JSON has no NaN and no infinity: they are written as the strings that pydantic reads back.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Curve(_Frozen):
    """One entry an epoch. A diverged run's curve ends with its last completed epoch."""

    train_loss: tuple[float, ...] = ()
    val_loss: tuple[float, ...] = ()
    val_accuracy: tuple[float, ...] = ()  # fraction of 1
    norm_before: tuple[float, ...] = ()  # median gradient norm of the epoch's steps, as measured
    norm_after: tuple[float, ...] = ()  # median gradient norm that the update rule saw
    clip_rate: tuple[float, ...] = ()  # share of the epoch's steps that were scaled down


class Times(_Frozen):
    """Measured times: the only numbers of a record that differ between two runs of the same trial.

    Of a trial that was trained together with others they are its share: the time that they all took, divided by how
    many they were. They tell what a study costs, and nothing about a step of one model.
    """

    wall_seconds: float  # the whole trial, interruptions not counted
    step_ms: float  # median of one training step: batch, forward, backward, optimizer
    optimizer_ms: float  # median of the optimizer's share of it, clipping included


class Environment(_Frozen):
    """What the trial ran on."""

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
    """One trial's outcome. Accuracies are fractions of 1; `test_*` is None for a tune trial or a diverged run."""

    trial: Trial
    outcome: Literal["finished", "diverged"]
    reason: str = ""  # why it counts as diverged
    steps: int  # training steps taken
    parameters: int
    flops: float  # floating-point operations of all training steps, forward and backward, the optimizer's not counted
    curve: Curve
    norm_quantiles: tuple[float, ...]  # of the norms before clipping over all steps, at QUANTILES
    clip_rate: float  # share of all steps that were scaled down
    val_accuracy: float | None
    val_loss: float | None
    test_accuracy: float | None = None
    test_loss: float | None = None
    test_also: dict[str, float] = {}  # further shares that the task asks the test split for, such as top-5
    times: Times
    environment: Environment
    replicas: int = 1  # how many trials were trained side by side, this one among them; 1: it was alone
