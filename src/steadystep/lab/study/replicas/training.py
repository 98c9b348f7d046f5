"""Many runs as one thing that can take a step, be saved between any two, and go on from there bit for bit."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from steadystep.guarded_step import NonFiniteGradientError
from steadystep.lab.study.measurements import Measurements
from steadystep.lab.study.replicas.model import Gradients, ReplicatedModel
from steadystep.lab.study.replicas.optimizer import ReplicatedOptimizer, Sizes
from steadystep.lab.study.schedule import multiplier
from steadystep.lab.study.seeding import epoch_order, initial_model
from steadystep.lab.study.training import make_optimizer
from steadystep.lab.study.trial import Trial
from steadystep.lab.tasks.task import Splits, Task


class ReplicatedTraining:
    """Trials that differ in seeds and numbers alone, trained in step.

    Each has the initial weights and the data order that its seed gives it when it is trained alone. One whose step
    cannot be taken leaves, `on_diverged` is told why, and the others go on.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        task: Task,
        splits: Splits,
        on_diverged: Callable[[Trial, str], None] = lambda trial, reason: None,
    ) -> None:
        self._clock = _SharedClock()
        self._on_diverged = on_diverged
        self.running = list(trials)
        self.diverged: dict[str, str] = {}  # by the identities of trials that left: why
        self.measured = {trial.id: Measurements() for trial in trials}
        self._measuring = list(self.measured.values())  # of those that still run, in their order
        self.splits = splits
        self._task = task
        self.batch_size = min(trials[0].batch_size, len(splits.train))
        self.steps_per_epoch = len(splits.train) // self.batch_size
        self.steps = self.steps_per_epoch * trials[0].epochs
        self._lr_multiplier = multiplier(trials[0].schedule, self.steps)
        models = [initial_model(task.model, trial.seed) for trial in trials]
        self.model = ReplicatedModel(task, models)
        optimizers = [make_optimizer(trial, model) for trial, model in zip(trials, models, strict=True)]
        self.optimizer = ReplicatedOptimizer(trials, optimizers, self.model.parameters)
        self._draw_orders()

    @property
    def taken(self) -> int:
        """Steps so far, of those that still run."""
        return self.optimizer.steps

    @property
    def epoch(self) -> int:
        """How many epochs are finished."""
        return self.taken // self.steps_per_epoch

    @property
    def finished(self) -> bool:
        return self.taken == self.steps or not self.running

    def step(self) -> None:
        """Take one step of every replica; those whose step cannot be taken leave, with the reason in `diverged`."""
        started = time.perf_counter()
        losses, gradients = self.model.losses_and_gradients(*self.next_batch())
        values = losses.tolist()
        number = self.taken + 1
        reasons = ["" if math.isfinite(value) else f"the loss is {value} at step {number}" for value in values]
        computed = time.perf_counter()
        sizes = self.optimizer.measure(gradients)
        for replica in np.flatnonzero(~sizes.sound).tolist():
            reasons[replica] = reasons[replica] or f"step {number}: {self._complaint(replica, gradients[replica])}"
        if any(reasons):
            gradients, sizes = self._leave(reasons, gradients, sizes)
            values = [value for value, reason in zip(values, reasons, strict=True) if not reason]
        if self.running:
            self.optimizer.apply(self.model.parameters, gradients, sizes, self._lr_multiplier(self.taken))
            ended = time.perf_counter()
            self._note(values, sizes, ended - started, ended - computed)

    def next_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The batches of the coming step: (replicas, batch, ...) each."""
        if self._ordered != self.epoch:
            self._draw_orders()
        start = self.taken % self.steps_per_epoch * self.batch_size
        chosen = self._orders[:, start : start + self.batch_size]
        x, y, _ = next(self.splits.train.stream(chosen.flatten(), chosen.numel(), self.epoch))
        return x.view(*chosen.shape, *x.shape[1:]), y.view(*chosen.shape, *y.shape[1:])

    def at_epoch_end(self) -> bool:
        return bool(self.running) and self.taken % self.steps_per_epoch == 0

    def end_epoch(self) -> None:
        """Validate."""
        for measured, (loss, accuracy, _) in zip(self._measuring, self.model.evaluate(self.splits.val), strict=True):
            measured.epoch_ends.append(measured.steps)
            measured.val_loss.append(loss)
            measured.val_accuracy.append(accuracy)

    def state(self) -> dict[str, Any]:
        """Everything that a later `restore` needs, in types that load without running code."""
        return {
            "running": [trial.id for trial in self.running],
            "diverged": self.diverged,
            "parameters": self.model.parameters,
            "optimizer": self.optimizer.state(),
            "measured": {trial: measured.state() for trial, measured in self.measured.items()},
            "clock": self._clock.state(len(self.running)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same trials. Only of a training that has taken no step."""
        self._keep([trial.id in state["running"] for trial in self.running])
        self.diverged = state["diverged"]
        self.model.parameters = state["parameters"]
        self.optimizer.restore(state["optimizer"])
        self.measured = {trial: Measurements.from_state(measured) for trial, measured in state["measured"].items()}
        self._measuring = [self.measured[trial.id] for trial in self.running]
        self._clock.restore(state["clock"])
        self._draw_orders()

    def seconds(self, trial: Trial) -> float:
        """The trial's share of the time that all took, interruptions not counted."""
        return self._clock.seconds(trial.id, len(self.running))

    def _leave(self, reasons: Sequence[str], gradients: Gradients, sizes: Sizes) -> tuple[Gradients, Sizes]:
        """Let those go that have a reason to; what is left of the gradients and of their sizes."""
        leaving = [(trial, reason) for trial, reason in zip(self.running, reasons, strict=True) if reason]
        stays = [not reason for reason in reasons]
        self._clock.leave([trial.id for trial, _ in leaving], len(self.running))
        self._keep(stays)
        for trial, reason in leaving:
            self.diverged[trial.id] = reason
            self._on_diverged(trial, reason)
        return [row for row, kept in zip(gradients, stays, strict=True) if kept], sizes.of(np.array(stays))

    def _keep(self, stays: Sequence[bool]) -> None:
        rows = torch.tensor([replica for replica, kept in enumerate(stays) if kept], dtype=torch.int64)
        self.running = [self.running[replica] for replica in rows.tolist()]
        self._measuring = [self._measuring[replica] for replica in rows.tolist()]
        self.model.keep(rows)
        self.optimizer.keep(rows)
        self._orders = self._orders[rows]

    def _complaint(self, replica: int, gradients: Sequence[torch.Tensor]) -> str:
        """What the trial's own guarded step says about these gradients."""
        model = self._task.model()
        model.load_state_dict(self.model.row(replica))
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        try:
            make_optimizer(self.running[replica], model).step()
        except NonFiniteGradientError as error:
            return str(error)
        raise AssertionError(f"a guarded step of {self.running[replica]} takes gradients that its replica refuses")

    def _note(self, losses: Sequence[float], sizes: Sizes, step_seconds: float, optimizer_seconds: float) -> None:
        clipped = (sizes.norm_after < sizes.norm_before).astype(float)
        share, optimizer_share = step_seconds / len(losses), optimizer_seconds / len(losses)
        rows = zip(losses, sizes.norm_before.tolist(), sizes.norm_after.tolist(), clipped.tolist(), strict=True)
        for measured, (loss, before, after, scaled) in zip(self._measuring, rows, strict=True):
            measured.loss.append(loss)
            measured.norm_before.append(before)
            measured.norm_after.append(after)
            measured.clipped.append(scaled)
            measured.step_seconds.append(share)
            measured.optimizer_seconds.append(optimizer_share)

    def _draw_orders(self) -> None:
        """In which order each replica visits the examples in this epoch: (replicas, examples)."""
        examples, self._ordered = len(self.splits.train), self.epoch
        orders = {trial.seed: epoch_order(trial.seed, self.epoch, examples) for trial in self.running}
        rows = [orders[trial.seed] for trial in self.running]
        self._orders = torch.stack(rows) if rows else torch.empty(0, examples)


class _SharedClock:
    """Shares the time that passes among the runs that are there."""

    def __init__(self) -> None:
        self._read = time.monotonic()
        self._share = 0.0  # of each that still runs
        self._left: dict[str, float] = {}  # the shares of those that left

    def seconds(self, trial: str, running: int) -> float:
        self._advance(running)
        return self._left.get(trial, self._share)

    def leave(self, trials: Sequence[str], running: int) -> None:
        self._advance(running)
        self._left |= dict.fromkeys(trials, self._share)

    def state(self, running: int) -> dict[str, Any]:
        self._advance(running)
        return {"share": self._share, "left": self._left}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._share, self._left = self._share + state["share"], state["left"]

    def _advance(self, running: int) -> None:
        now = time.monotonic()
        self._share += (now - self._read) / max(running, 1)
        self._read = now
