"""A finished trial as experiment trackers show it: a name, settings, curves and final values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steadystep.lab.tasks.arms import Arm
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial


@dataclass(frozen=True)
class FinishedRun:
    """One run of a tracker. `identity` is that of the trial; a trial of several studies is one run."""

    identity: str
    name: str
    task: str
    arm: str
    tags: Sequence[str]  # role and outcome
    settings: Mapping[str, str | int | float]
    curves: Mapping[int, Mapping[str, float]]  # by epoch, counted from 1
    final: Mapping[str, float]


def finished_run(record: Record, arms: Sequence[Arm]) -> FinishedRun:
    """Return the run of a record. `arms` are those of the study, which have names."""
    trial = record.trial
    arm = arm_name(trial, arms)
    threshold = f" {trial.clip.threshold:.3g}" if trial.clip else ""
    return FinishedRun(
        identity=trial.id,
        name=f"{arm}{threshold}, lr {trial.lr:.3g}, seed {trial.seed}, {trial.epochs} epochs",
        task=trial.task,
        arm=arm,
        tags=(trial.role, record.outcome),
        settings=_settings(record, arm),
        curves=_curves(record),
        final=_final(record),
    )


def arm_name(trial: Trial, arms: Sequence[Arm]) -> str:
    """Return the name of the arm of a trial."""
    kind = trial.clip.kind if trial.clip else None
    same = (arm for arm in arms if (arm.optimizer, arm.options, arm.clip) == (trial.optimizer, trial.options, kind))
    arm = next(same, None)
    return arm.name if arm else f"{trial.optimizer} + {kind}" if kind else trial.optimizer


def _settings(record: Record, arm: str) -> dict[str, str | int | float]:
    """Return what determined the trial. A trial without a clipper has no threshold."""
    trial = record.trial
    settings = trial.model_dump(exclude={"clip", "options", "data"}) | {"arm": arm, "trial": trial.id}
    settings |= {f"option/{name}": value if isinstance(value, int | float) else str(value)
                 for name, value in trial.options.items()}  # fmt: skip
    if trial.clip:
        settings |= {"clip": trial.clip.kind, "clip_threshold": trial.clip.threshold}
    environment = record.environment
    return settings | {"device": environment.device, "torch": environment.torch, "steadystep": environment.steadystep}


def _curves(record: Record) -> dict[int, dict[str, float]]:
    measured: dict[str, tuple[float, ...]] = record.curve.model_dump()
    return {
        epoch + 1: {name: values[epoch] for name, values in measured.items() if epoch < len(values)}
        for epoch in range(len(record.curve.train_loss))
    }


def _final(record: Record) -> dict[str, float]:
    """Return the numbers that the trial ended with, without those that a tuning run or a diverged one does not have."""
    final = {
        name: getattr(record, name)
        for name in ("val_accuracy", "val_loss", "test_accuracy", "test_loss", "clip_rate", "steps", "flops")
    }
    final |= {f"test_{name}": value for name, value in record.test_also.items()}
    final |= {**record.times.model_dump(), "diverged": float(record.outcome == "diverged")}
    return {f"final/{name}": float(value) for name, value in final.items() if value is not None}
