"""Train many replicas in turns of several steps; training can be saved between turns and resumed bit for bit."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from steadystep.lab.replicas.batch_sampler import BatchSampler
from steadystep.lab.replicas.compiled.clipped_step import IS_FINITE, ClippedStep
from steadystep.lab.replicas.memory_layout import Layout, make_layout
from steadystep.lab.replicas.optimizer import Coefficients, ReplicatedOptimizer
from steadystep.lab.replicas.shared_clock import SharedClock
from steadystep.lab.replicas.workspace import Workspace
from steadystep.lab.tasks.splits import Batch, Split, Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.evaluation import Evaluation
from steadystep.lab.training.flops import flops_per_step
from steadystep.lab.training.measurements import Measurements
from steadystep.lab.training.schedule import lr_multiplier
from steadystep.lab.training.seeds import initial_model
from steadystep.lab.training.trainer import make_optimizer
from steadystep.lab.training.trial import Trial
from steadystep.step.errors import NonFiniteGradientError

STEPS_PER_TURN = 64
"""Steps of a group in one turn, summed over its replicas. A group's memory is read into the cache once per turn."""

MAX_TURN_FLOPS = 2e11
"""Maximum number of operations in a turn of all groups. It takes a few seconds, in which training cannot be stopped."""


class ReplicatedTraining:
    """Trials that differ only in seeds and hyperparameter values, trained side by side.

    Each replica has the initial weights and the data order that its seed gives the trial when it is trained alone. The
    memory of a replica is one row. As many replicas as fit into a cache form a group; the groups take turns of a few
    steps in a workspace. A replica that cannot take a step is removed and passed to `on_diverged` with the reason; the
    others continue.
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
        self.diverged: dict[str, str] = {}  # id of a removed trial -> reason
        self.measured = {trial.id: Measurements() for trial in trials}
        self._running_measured = list(self.measured.values())  # in the order of `running`
        self.splits = splits
        self._sampler = BatchSampler(splits.train, trials[0].batch_size, [trial.seed for trial in trials])
        self._task = task
        self.steps_per_epoch = self._sampler.steps_per_epoch
        self.steps = self.steps_per_epoch * trials[0].epochs
        self._lr_multiplier = lr_multiplier(trials[0].schedule, self.steps)
        models = [initial_model(task.model, trial.seed) for trial in trials]
        optimizers = [make_optimizer(trial, model) for trial, model in zip(trials, models, strict=True)]
        self.optimizer = ReplicatedOptimizer(trials, optimizers)
        self.layout = make_layout(models[0], self.optimizer.rule.slots)
        self.memory = _initial_memory(self.layout, models, self.optimizer.initial_slots)
        self._workspaces: dict[int, tuple[Workspace, ClippedStep]] = {}  # by number of replicas
        x, y = self.next_batch()
        self._specs = (x.shape[1:], x.dtype), (y.shape[1:], y.dtype)
        self.step_flops = flops_per_step(task, x[0], y[0])
        self._group_size = self.layout.group_size(self.memory.itemsize, self.step_flops / self._sampler.batch_size)

    @property
    def steps_taken(self) -> int:
        """The number of steps that each running replica has taken."""
        return self.optimizer.steps

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return self.steps_taken // self.steps_per_epoch

    @property
    def finished(self) -> bool:
        """Whether all steps have been taken or no replica is left."""
        return self.steps_taken == self.steps or not self.running

    def step(self) -> None:
        """Take one turn of steps with every replica: a part of an epoch, or the rest of it and further whole epochs."""
        flops = self.step_flops * len(self.running)
        most = max(
            1,
            min(STEPS_PER_TURN // self._group_size, int(MAX_TURN_FLOPS / flops), self.steps - self.steps_taken),
        )
        left = self.steps_per_epoch - self.steps_taken % self.steps_per_epoch
        self.take_steps(most if most < left else most - (most - left) % self.steps_per_epoch)

    def take_steps(self, steps: int) -> None:
        """Take `steps` steps with every replica, and evaluate on the validation split after each epoch.

        Replicas that cannot take a step are removed before it; `diverged` then holds the reasons.
        """
        first, epoch = self.steps_taken, self.epoch
        coefficients = self.optimizer.advance([self._lr_multiplier(first + step) for step in range(steps)])
        validation = self._batches(self.splits.val) if self.epoch > epoch else []
        reasons: dict[int, str] = {}
        for rows in self._groups():
            self._train_group(rows, first, coefficients, validation, reasons)
        self._sampler.drop_epochs(self.epoch)
        if reasons:
            self._remove_diverged(reasons)

    def next_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batches x and y of the next step, each of shape (replicas, batch, ...)."""
        return self._sampler.batch(self.steps_taken)

    def at_epoch_end(self) -> bool:
        """Return whether the last step ended an epoch and replicas are left."""
        return bool(self.running) and self.steps_taken % self.steps_per_epoch == 0

    def test(self) -> list[Evaluation]:
        """Evaluate each running replica on the test split."""
        batches = self._batches(self.splits.test)
        evaluations: list[Evaluation] = []
        for rows in self._groups():
            workspace, _ = self._load_group(rows)
            evaluations += workspace.evaluate(batches, test=True)
        return evaluations

    def parameters(self, replica: int) -> dict[str, torch.Tensor]:
        """Return one replica's parameters by name, as views."""
        parameters = self.layout.views(self.memory[replica : replica + 1, : self.layout.stride])
        return {name: tensor[0] for name, tensor in zip(self.layout.names, parameters, strict=True)}

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs, in types that load without running code."""
        return {
            "running": [trial.id for trial in self.running],
            "diverged": self.diverged,
            "memory": self.memory,
            "optimizer": self.optimizer.state(),
            "measured": {trial: measured.state() for trial, measured in self.measured.items()},
            "clock": self._clock.state(len(self.running)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Load a state of the same trials. This training must not have taken a step yet."""
        self._select([row for row, trial in enumerate(self.running) if trial.id in state["running"]])
        self.diverged = state["diverged"]
        self.memory = state["memory"]
        self.optimizer.restore(state["optimizer"])
        self.measured = {trial: Measurements.from_state(measured) for trial, measured in state["measured"].items()}
        self._running_measured = [self.measured[trial.id] for trial in self.running]
        self._clock.restore(state["clock"])

    def seconds(self, trial: Trial) -> float:
        """Return the trial's share of the time of the whole training, without interruptions."""
        return self._clock.seconds(trial.id, len(self.running))

    def _groups(self) -> list[Sequence[int]]:
        """Return the rows of each group. The groups have about equal sizes, because each size needs a workspace."""
        running = len(self.running)
        count = -(-running // self._group_size)
        return [range(*ends) for ends in pairwise(running * number // count for number in range(count + 1))]

    def _train_group(
        self,
        rows: Sequence[int],
        first: int,
        coefficients: Coefficients,
        validation: Sequence[Batch],
        reasons: dict[int, str],
    ) -> None:
        """Take the next steps with these replicas, each of which has taken `first` steps.

        If some replicas cannot take a step, the reasons are added to `reasons`, and the other replicas repeat the step
        without them.
        """
        steps, done = len(coefficients.per_tensor), 0
        while rows and done < steps:
            workspace, clipped_step = self._load_group(rows)
            group_coefficients = coefficients.select(rows)
            measurements, evaluations, failures = [], {}, {}
            started = time.perf_counter()
            batches = self._sampler.load_batches(workspace, rows, first + done, steps - done)
            for step, _ in enumerate(batches, start=done):
                workspace.compute_gradients()
                computed = time.perf_counter()
                number = first + step + 1
                if not clipped_step.step(group_coefficients, step):
                    failures = self._failures(rows, workspace, clipped_step.statistics[:, IS_FINITE], number)
                    break
                ended = time.perf_counter()
                norms = clipped_step.statistics.T[:IS_FINITE].tolist()
                measurements.append((workspace.losses.tolist(), *norms, ended - started, ended - computed))
                if number % self.steps_per_epoch == 0:
                    evaluations[number] = workspace.evaluate(validation)
                    ended = time.perf_counter()
                started = ended
            for place, row in enumerate(rows):
                self.memory[row, : self.layout.stride].copy_(workspace.memory[place])
            self._append_measurements(rows, measurements, evaluations)
            done += len(measurements)
            reasons |= failures
            rows = [row for row in rows if row not in failures]

    def _failures(
        self, rows: Sequence[int], workspace: Workspace, is_finite: np.ndarray, number: int
    ) -> dict[int, str]:
        """Return the reasons why replicas cannot take step `number`, keyed by row."""
        failures, losses = {}, workspace.losses.tolist()
        for place, row in enumerate(rows):
            if not math.isfinite(losses[place]):
                failures[row] = f"the loss is {losses[place]} at step {number}"
            elif not is_finite[place]:
                failures[row] = f"step {number}: {self._gradient_error(self.running[row], workspace, place)}"
        return failures

    def _gradient_error(self, trial: Trial, workspace: Workspace, place: int) -> str:
        """Return the error message of the trial's guarded step for the gradients of a replica in the workspace."""
        model = self._task.model()
        tensors = zip(model.parameters(), workspace.parameters, workspace.gradients, strict=True)
        with torch.no_grad():
            for parameter, value, gradient in tensors:
                parameter.copy_(value[place])
                parameter.grad = gradient[place]
        try:
            make_optimizer(trial, model).step()
        except NonFiniteGradientError as error:
            return error.problem
        raise AssertionError(f"the guarded step of {trial} accepts gradients that its replica rejected")

    def _load_group(self, rows: Sequence[int]) -> tuple[Workspace, ClippedStep]:
        """Load these replicas into the workspace for this group size, and return it with its clipped step."""
        if len(rows) not in self._workspaces:
            workspace = Workspace(
                self._task, self.layout, len(rows), self.memory.dtype, self._specs, self._sampler.arrays
            )
            self._workspaces[len(rows)] = workspace, ClippedStep(self.optimizer, workspace, self.layout)
        workspace, clipped_step = self._workspaces[len(rows)]
        for place, row in enumerate(rows):
            workspace.memory[place].copy_(self.memory[row, : self.layout.stride])
        clipped_step.load_replicas(rows, self.memory, self.optimizer.thresholds)
        return workspace, clipped_step

    def _batches(self, split: Split) -> list[Batch]:
        """Return the evaluation batches of a whole split."""
        return list(split.stream(torch.arange(len(split)), self._task.recipe.evaluation_batch, 0))

    def _append_measurements(
        self, rows: Sequence[int], measurements: Sequence[Any], evaluations: Mapping[int, Sequence[Evaluation]]
    ) -> None:
        """Append the measurements of some steps of a group; the time of a step is divided among its replicas.

        Args:
            rows: the replicas.
            measurements: of each step: losses, norms before and after clipping, and the seconds of the whole step and
                of the optimizer's part.
            evaluations: on the validation split, by the number of steps taken.
        """
        if not measurements:
            return
        losses, before, after, step_seconds, optimizer_seconds = zip(*measurements, strict=True)
        shared = [[seconds / len(rows) for seconds in times] for times in (step_seconds, optimizer_seconds)]
        for row, *numbers in zip(rows, *(zip(*each, strict=True) for each in (losses, before, after)), strict=True):
            measured = self._running_measured[row]
            measured.loss += numbers[0]
            measured.norm_before += numbers[1]
            measured.norm_after += numbers[2]
            measured.clipped += [float(after < before) for _, before, after in zip(*numbers, strict=True)]
            measured.step_seconds += shared[0]
            measured.optimizer_seconds += shared[1]
        for number, results in evaluations.items():
            for row, (loss, accuracy, _) in zip(rows, results, strict=True):
                measured = self._running_measured[row]
                measured.epoch_ends.append(number)
                measured.val_loss.append(loss)
                measured.val_accuracy.append(accuracy)

    def _remove_diverged(self, reasons: Mapping[int, str]) -> None:
        """Remove replicas that cannot take a step; `reasons` maps their rows to the reasons."""
        removed = [(self.running[row], reason) for row, reason in sorted(reasons.items())]
        self._clock.remove([trial.id for trial, _ in removed], len(self.running))
        self._select([row for row in range(len(self.running)) if row not in reasons])
        for trial, reason in removed:
            self.diverged[trial.id] = reason
            self._on_diverged(trial, reason)

    def _select(self, rows: Sequence[int]) -> None:
        """Keep only these replicas."""
        self.running = [self.running[row] for row in rows]
        self._running_measured = [self._running_measured[row] for row in rows]
        self.memory = self.memory[rows]
        self.optimizer.select(rows)
        self._sampler.select(rows)


def _initial_memory(
    layout: Layout, models: Sequence[torch.nn.Module], initial_slots: Sequence[np.ndarray]
) -> torch.Tensor:
    """Return a row of memory for each model: its parameters and the initial values of the rule's slots."""
    memory = torch.zeros(len(models), layout.width, dtype=next(models[0].parameters()).dtype)
    parameters, *slots = layout.split_rows(memory)
    with torch.no_grad():
        for row, model in enumerate(models):
            for stacked, parameter in zip(parameters, model.parameters(), strict=True):
                stacked[row].copy_(parameter)
    for slot, values in zip(slots, initial_slots, strict=True):
        initial = torch.from_numpy(values.copy())
        for tensor in slot:
            tensor.copy_(initial.view(-1, *[1] * (tensor.dim() - 1)).expand_as(tensor))
    return memory
