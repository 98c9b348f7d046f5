"""One training run that can be saved between any two steps and resumed bit for bit."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.clips import CLIPS
from steadystep.lab.tasks.optimizer_options import optimizer_with_options
from steadystep.lab.tasks.recipe import Moment, no_augmentation
from steadystep.lab.tasks.splits import Batch, Splits, all_rows
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.device import CPU, now
from steadystep.lab.training.evaluation import Evaluation, at_least_float32, evaluate
from steadystep.lab.training.measurements import Measurements
from steadystep.lab.training.noise import Noise
from steadystep.lab.training.ranks import ALONE, Ranks
from steadystep.lab.training.schedule import make_scheduler
from steadystep.lab.training.seeds import epoch_order, initial_model
from steadystep.lab.training.trial import Trial
from steadystep.lab.training.weight_average import Lookahead
from steadystep.optimizers import Optimizer
from steadystep.step.errors import NonFiniteGradientError, NonFiniteUpdateError, TooManySkipsError


class Diverged(Exception):
    """Training cannot continue; the message says why."""


class Training:
    """The model, optimizer, schedule and data position of one trial. Uses torch's global random state.

    Initial weights, data order and noise (dropout) depend on the seed only, so they are the same for all arms. Each of
    several `ranks` computes its rows of every batch; model and optimizer are the same in all of them.
    """

    def __init__(
        self, trial: Trial, task: Task, splits: Splits, device: torch.device = CPU, ranks: Ranks = ALONE
    ) -> None:
        self.trial, self.splits, self.ranks, self._device = trial, splits, ranks, device
        self.measured = Measurements()
        # The last, incomplete batch is dropped, because the gradient norms of smaller batches are larger, and
        # thresholds are computed from the norms. Every epoch has a new order, so no example is always left out.
        self.batch_size = min(trial.batch_size, len(splits.train))
        self.steps_per_epoch = len(splits.train) // self.batch_size
        self.steps = self.steps_per_epoch * trial.epochs
        if self.batch_size < ranks.size:
            raise UserError(f"{ranks.size} processes cannot share out a batch of {self.batch_size}: use fewer of them")
        self._recipe = task.recipe
        self.model = initial_model(task.model, trial.seed)
        self._recipe.initialise(self.model, splits.train)
        self.model.to(device)
        if self._recipe.channels_last:
            self.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        every = self._recipe.average_every
        # `average_every` counts examples, so that the average covers the same amount of data for every batch size.
        self._average = Lookahead(self.model, self.steps, max(1, round(every / self.batch_size))) if every else None
        self.optimizer = make_optimizer(trial, self.model)
        self.scheduler = make_scheduler(self.optimizer, trial.schedule, self.steps)
        self._parallel = ranks.data_parallel(self.model, self.batch_size)
        self._noise = Noise(trial.seed, device, ranks)
        self._begin_epoch()

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return self.measured.steps // self.steps_per_epoch

    @property
    def finished(self) -> bool:
        """Whether all steps have been taken."""
        return self.measured.steps == self.steps

    def step(self) -> None:
        """Take one step.

        Raises:
            Diverged: if the loss or the gradient is not finite; the weights are unchanged.
        """
        started = now(self._device)
        x, y = self.next_batch()
        self._next_batch = None
        self.optimizer.zero_grad()
        with self._precision(), self.ranks.forward(), self._noise.of_model():
            outputs = self._parallel(x)
        loss = self._recipe.loss(at_least_float32(outputs), y)
        if not self.ranks.alone:
            loss = loss * self.ranks.share_of(self.batch_size)
        value = self.ranks.mean(loss.item())
        number = self.measured.steps + 1
        if not math.isfinite(value):
            raise Diverged(f"the loss is {value} at step {number}")
        loss.backward()
        computed = now(self._device)
        try:
            self.optimizer.step()
        except (NonFiniteGradientError, NonFiniteUpdateError, TooManySkipsError) as error:
            raise Diverged(f"step {number}: {error.problem}") from error
        ended = now(self._device)
        self.scheduler.step()
        self._record_step(value, ended - started, ended - computed)
        if self._average:
            self._average.after_step(self.measured.steps)

    def next_batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return this process's rows of the batch of the next step; repeated calls return the same ones."""
        if self._next_batch is None:
            if self._stream_epoch != self.epoch:
                self._begin_epoch()
            x, y, indices = next(self._stream).to(self._device)
            x = self._recipe.augment(x, indices, Moment(self.epoch, self.measured.steps / self.steps))
            if self._reads_whole_batches:
                x, y, _ = Batch(x, y, indices).rows(self.ranks.rows)
            if self._recipe.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            self._next_batch = x, y
        return self._next_batch

    def at_epoch_end(self) -> bool:
        """Return whether the last step completed an epoch."""
        return self.measured.steps % self.steps_per_epoch == 0

    def end_epoch(self) -> None:
        """Validate, and reset the state that the model carries from batch to batch."""
        with self._precision():
            loss, accuracy, _ = evaluate(
                self.model, self.splits.val, self._recipe, device=self._device, ranks=self.ranks
            )
        self._recipe.restart(self.model)
        self.measured.epoch_ends.append(self.measured.steps)
        self.measured.val_loss.append(loss)
        self.measured.val_accuracy.append(accuracy)

    def test(self) -> Evaluation:
        """Evaluate the model on the test split."""
        with self._precision():
            return evaluate(
                self.model, self.splits.test, self._recipe, test=True, device=self._device, ranks=self.ranks
            )

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs, in types that load without running code.

        It is the same in all processes, except for the part under ``own``.
        """
        rows = _row_buffers(self.model)
        return {
            "model": {
                name: self.ranks.joined(value, rows[name]) if name in rows else value
                for name, value in self.model.state_dict().items()
            },
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "random": self._noise.shared_state(),
            "measured": self.measured.state(),
            "average": self._average.state() if self._average else {},
            "own": self._noise.own_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the result of `state`, of as many processes or of another number."""
        rows = _row_buffers(self.model)
        self.model.load_state_dict(
            {
                name: _rows_of(value, rows[name], self.ranks) if name in rows else value
                for name, value in state["model"].items()
            }
        )
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.measured = Measurements.from_state(state["measured"])
        if self._average:
            self._average.restore(state["average"])
        self._begin_epoch()
        self._noise.restore(state["random"], state.get("own", {}))

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self.trial.dtype == "bfloat16")

    def _record_step(self, loss: float, step_seconds: float, optimizer_seconds: float) -> None:
        ledger, measured = self.optimizer.ledger, self.measured
        measured.loss.append(loss)
        measured.norm_before.append(ledger["norm_before"])
        measured.norm_after.append(ledger["norm_after"])
        measured.clipped.append(float(ledger["norm_after"] < ledger["norm_before"]))
        measured.step_seconds.append(step_seconds)
        measured.optimizer_seconds.append(optimizer_seconds)

    @property
    def _reads_whole_batches(self) -> bool:
        """Whether this process reads the rows of others: augmentation draws random numbers for all rows of a batch."""
        return not self.ranks.alone and self._recipe.augment is not no_augmentation

    def _begin_epoch(self) -> None:
        """Start the stream of this process's rows of the remaining batches of this epoch."""
        train, self._stream_epoch = self.splits.train, self.epoch
        examples = len(train)
        order = epoch_order(self.trial.seed, self.epoch, examples) if self._recipe.shuffled else torch.arange(examples)
        start = self.measured.steps % self.steps_per_epoch * self.batch_size
        self._stream = train.stream(
            order[start : self.steps_per_epoch * self.batch_size],
            self.batch_size,
            self.epoch,
            all_rows if self._reads_whole_batches else self.ranks.rows,
        )
        self._next_batch: tuple[torch.Tensor, torch.Tensor] | None = None


def _row_buffers(model: torch.nn.Module) -> Mapping[str, int]:
    """Return the dimension in which each buffer that carries state for the rows of a batch has these rows."""
    return getattr(model, "row_buffers", {})


def _rows_of(whole: torch.Tensor, dim: int, ranks: Ranks) -> torch.Tensor:
    """Return this process's rows of a buffer."""
    rows = ranks.rows(whole.shape[dim])
    return whole.narrow(dim, rows.start, rows.stop - rows.start)


def make_optimizer(trial: Trial, model: torch.nn.Module) -> Optimizer:
    """Make the trial's optimizer over the model's named parameters.

    It raises an error on gradients that are not finite, unless the options declare something else.

    Raises:
        UserError: if there is no such optimizer or it does not accept the options.
    """
    clip = CLIPS[trial.clip.kind].make(trial.clip.threshold) if trial.clip else None
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    return optimizer_with_options(trial.optimizer, trial.options, trial.lr, clip, trained)
