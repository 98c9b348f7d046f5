"""Many runs as one thing that can take steps, be saved between any two turns, and go on from there bit for bit."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from steadystep.lab.replicas.batch_sampler import Feeding
from steadystep.lab.replicas.compiled.clipped_step import SOUND, ClippedStep
from steadystep.lab.replicas.memory_layout import Layout, layout_of
from steadystep.lab.replicas.optimizer import Coefficients, ReplicatedOptimizer
from steadystep.lab.replicas.timing import SharedClock
from steadystep.lab.replicas.workspace import Desk
from steadystep.lab.tasks.task import Batch, Split, Splits, Task
from steadystep.lab.training.evaluation import Evaluation
from steadystep.lab.training.flops import flops_per_step
from steadystep.lab.training.measurements import Measurements
from steadystep.lab.training.schedule import multiplier
from steadystep.lab.training.seeds import initial_model
from steadystep.lab.training.trainer import make_optimizer
from steadystep.lab.training.trial import Trial
from steadystep.step.guarded_step import NonFiniteGradientError

TURN = 64
"""Steps at a desk before it is the next ones' turn, all replicas' together: what is read for them is read once."""

TURN_FLOPS = 2e11
"""Operations of a turn of all desks, at most: some seconds, in which nobody hears that they should stop."""


class ReplicatedTraining:
    """Trials that differ in seeds and numbers alone, trained side by side.

    Each has the initial weights and the data order that its seed gives it when it is trained alone. Their memory is
    one row each; as many as a cache holds are at a desk at a time, for a few steps. One whose step cannot be taken
    leaves, `on_diverged` is told why, and the others go on.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        task: Task,
        splits: Splits,
        on_diverged: Callable[[Trial, str], None] = lambda trial, reason: None,
    ) -> None:
        self._clock = SharedClock()
        self._on_diverged = on_diverged
        self.running = list(trials)
        self.diverged: dict[str, str] = {}  # by the identities of trials that left: why
        self.measured = {trial.id: Measurements() for trial in trials}
        self._measuring = list(self.measured.values())  # of those that still run, in their order
        self.splits = splits
        self._feeding = Feeding(splits.train, trials[0].batch_size, [trial.seed for trial in trials])
        self._task = task
        self.steps_per_epoch = self._feeding.steps_per_epoch
        self.steps = self.steps_per_epoch * trials[0].epochs
        self._lr_multiplier = multiplier(trials[0].schedule, self.steps)
        models = [initial_model(task.model, trial.seed) for trial in trials]
        optimizers = [make_optimizer(trial, model) for trial, model in zip(trials, models, strict=True)]
        self.optimizer = ReplicatedOptimizer(trials, optimizers)
        self.layout = layout_of(models[0], self.optimizer.rule.slots)
        self.memory = _started(self.layout, models, self.optimizer.starts)
        self._desks: dict[int, tuple[Desk, ClippedStep]] = {}
        x, y = self.next_batch()
        self._kinds = (x.shape[1:], x.dtype), (y.shape[1:], y.dtype)
        self.step_flops = flops_per_step(task, x[0], y[0])
        self._at_a_time = self.layout.at_a_time(self.memory.itemsize, self.step_flops / self._feeding.batch_size)

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
        """Take a turn's steps of every replica: a part of an epoch, or what is left of it and whole ones."""
        flops = self.step_flops * len(self.running)
        most = max(1, min(TURN // self._at_a_time, int(TURN_FLOPS / flops), self.steps - self.taken))
        left = self.steps_per_epoch - self.taken % self.steps_per_epoch
        self.take(most if most < left else most - (most - left) % self.steps_per_epoch)

    def take(self, steps: int) -> None:
        """Take so many steps of every replica, and judge them by the validation split where an epoch ends.

        Those that come to one which cannot be taken leave before it, with the reason in `diverged`.
        """
        taken, epoch = self.taken, self.epoch
        coefficients = self.optimizer.advance([self._lr_multiplier(taken + step) for step in range(steps)])
        validation = self._batched(self.splits.val) if self.epoch > epoch else []
        reasons: dict[int, str] = {}
        for rows in self._parts():
            self._take(rows, taken, coefficients, validation, reasons)
        self._feeding.forget(self.epoch)
        if reasons:
            self._leave(reasons)

    def next_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The batches of the coming step: (replicas, batch, ...) each."""
        return self._feeding.batch(self.taken)

    def at_epoch_end(self) -> bool:
        return bool(self.running) and self.taken % self.steps_per_epoch == 0

    def test(self) -> list[Evaluation]:
        """What the test split says of each replica."""
        batches = self._batched(self.splits.test)
        return [found for rows in self._parts() for found in self._sit_down(rows)[0].evaluate(batches, test=True)]

    def parameters(self, replica: int) -> dict[str, torch.Tensor]:
        """One replica's parameters by name: views."""
        parameters = self.layout.tensors(self.memory[replica : replica + 1, : self.layout.stride])
        return {name: tensor[0] for name, tensor in zip(self.layout.names, parameters, strict=True)}

    def state(self) -> dict[str, Any]:
        """Everything that a later `restore` needs, in types that load without running code."""
        return {
            "running": [trial.id for trial in self.running],
            "diverged": self.diverged,
            "memory": self.memory,
            "optimizer": self.optimizer.state(),
            "measured": {trial: measured.state() for trial, measured in self.measured.items()},
            "clock": self._clock.state(len(self.running)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of the same trials. Only of a training that has taken no step."""
        self._keep([row for row, trial in enumerate(self.running) if trial.id in state["running"]])
        self.diverged = state["diverged"]
        self.memory = state["memory"]
        self.optimizer.restore(state["optimizer"])
        self.measured = {trial: Measurements.from_state(measured) for trial, measured in state["measured"].items()}
        self._measuring = [self.measured[trial.id] for trial in self.running]
        self._clock.restore(state["clock"])

    def seconds(self, trial: Trial) -> float:
        """The trial's share of the time that all took, interruptions not counted."""
        return self._clock.seconds(trial.id, len(self.running))

    def _parts(self) -> list[Sequence[int]]:
        """The rows of those that are at a desk together, in parts of about equal size: each size has its own desk."""
        running = len(self.running)
        parts = -(-running // self._at_a_time)
        return [range(*ends) for ends in pairwise(running * number // parts for number in range(parts + 1))]

    def _take(
        self,
        rows: Sequence[int],
        taken: int,
        coefficients: Coefficients,
        validation: Sequence[Batch],
        reasons: dict[int, str],
    ) -> None:
        """Take the steps of these replicas; `reasons` gets those that cannot take one, and the others take it anew."""
        steps, first = len(coefficients.own), 0
        while rows and first < steps:
            desk, clipped = self._sit_down(rows)
            own = coefficients.of(rows)
            noted, judged, found = [], {}, {}
            started = time.perf_counter()
            for step, _ in enumerate(self._feeding.put(desk, rows, taken + first, steps - first), start=first):
                desk.compute()
                computed = time.perf_counter()
                number = taken + step + 1
                if not clipped.take(own, step):
                    found = self._complaints(rows, desk, clipped.sizes[:, SOUND], number)
                    break
                ended = time.perf_counter()
                noted.append(
                    (desk.losses.tolist(), *clipped.sizes.T[:SOUND].tolist(), ended - started, ended - computed)
                )
                if number % self.steps_per_epoch == 0:
                    judged[number] = desk.evaluate(validation)
                    ended = time.perf_counter()
                started = ended
            for place, row in enumerate(rows):
                self.memory[row, : self.layout.stride].copy_(desk.memory[place])
            self._note(rows, noted, judged)
            first += len(noted)
            reasons |= found
            rows = [row for row in rows if row not in found]

    def _complaints(self, rows: Sequence[int], desk: Desk, sound: np.ndarray, number: int) -> dict[int, str]:
        """Why replicas cannot take this step, by their rows."""
        found, losses = {}, desk.losses.tolist()
        for place, row in enumerate(rows):
            if not math.isfinite(losses[place]):
                found[row] = f"the loss is {losses[place]} at step {number}"
            elif not sound[place]:
                found[row] = f"step {number}: {self._complaint(self.running[row], desk, place)}"
        return found

    def _complaint(self, trial: Trial, desk: Desk, place: int) -> str:
        """What the trial's own guarded step says about the gradients there."""
        model = self._task.model()
        given = zip(model.parameters(), desk.parameters, desk.gradients, strict=True)
        with torch.no_grad():
            for parameter, value, gradient in given:
                parameter.copy_(value[place])
                parameter.grad = gradient[place]
        try:
            make_optimizer(trial, model).step()
        except NonFiniteGradientError as error:
            return str(error)
        raise AssertionError(f"a guarded step of {trial} takes gradients that its replica refuses")

    def _sit_down(self, rows: Sequence[int]) -> tuple[Desk, ClippedStep]:
        """These replicas at the desk for so many."""
        if len(rows) not in self._desks:
            desk = Desk(self._task, self.layout, len(rows), self.memory.dtype, self._kinds, self._feeding.arrays)
            self._desks[len(rows)] = desk, ClippedStep(self.optimizer, desk, self.layout)
        desk, clipped = self._desks[len(rows)]
        for place, row in enumerate(rows):
            desk.memory[place].copy_(self.memory[row, : self.layout.stride])
        clipped.seat(rows, self.memory, self.optimizer.thresholds)
        return desk, clipped

    def _batched(self, split: Split) -> list[Batch]:
        """A whole split, to be judged by."""
        return list(split.stream(torch.arange(len(split)), self._task.recipe.evaluation_batch, 0))

    def _note(self, rows: Sequence[int], noted: Sequence[Any], judged: Mapping[int, Sequence[Evaluation]]) -> None:
        """Keep what was measured in some steps of these replicas, which share the time that they took.

        And what the validation split said after some of them, by how many steps were taken then.
        """
        if not noted:
            return
        losses, before, after, step_seconds, optimizer_seconds = zip(*noted, strict=True)
        shared = [[seconds / len(rows) for seconds in times] for times in (step_seconds, optimizer_seconds)]
        for row, *numbers in zip(rows, *(zip(*each, strict=True) for each in (losses, before, after)), strict=True):
            measured = self._measuring[row]
            measured.loss += numbers[0]
            measured.norm_before += numbers[1]
            measured.norm_after += numbers[2]
            measured.clipped += [float(after < before) for _, before, after in zip(*numbers, strict=True)]
            measured.step_seconds += shared[0]
            measured.optimizer_seconds += shared[1]
        for number, found in judged.items():
            for row, (loss, accuracy, _) in zip(rows, found, strict=True):
                measured = self._measuring[row]
                measured.epoch_ends.append(number)
                measured.val_loss.append(loss)
                measured.val_accuracy.append(accuracy)

    def _leave(self, reasons: Mapping[int, str]) -> None:
        """Let those go that have a reason to, by their rows."""
        leaving = [(self.running[row], reason) for row, reason in sorted(reasons.items())]
        self._clock.leave([trial.id for trial, _ in leaving], len(self.running))
        self._keep([row for row in range(len(self.running)) if row not in reasons])
        for trial, reason in leaving:
            self.diverged[trial.id] = reason
            self._on_diverged(trial, reason)

    def _keep(self, rows: Sequence[int]) -> None:
        self.running = [self.running[row] for row in rows]
        self._measuring = [self._measuring[row] for row in rows]
        self.memory = self.memory[rows]
        self.optimizer.keep(rows)
        self._feeding.keep(rows)


def _started(layout: Layout, models: Sequence[torch.nn.Module], starts: Sequence[np.ndarray]) -> torch.Tensor:
    """A row of memory for each model: its parameters, and what the rule's slots start from."""
    memory = torch.zeros(len(models), layout.width, dtype=next(models[0].parameters()).dtype)
    parameters, *slots = layout.parts(memory)
    with torch.no_grad():
        for row, model in enumerate(models):
            for together, parameter in zip(parameters, model.parameters(), strict=True):
                together[row].copy_(parameter)
    for slot, start in zip(slots, starts, strict=True):
        first = torch.from_numpy(start.copy())
        for tensor in slot:
            tensor.copy_(first.view(-1, *[1] * (tensor.dim() - 1)).expand_as(tensor))
    return memory
