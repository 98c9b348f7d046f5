"""The black box: records what each step does, and freezes what led to trouble."""

import logging
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from steadystep.arguments import described
from steadystep.optimizers.planned_step import PlannedStep
from steadystep.recorder.batches import LastBatches
from steadystep.recorder.clock import StepClock
from steadystep.recorder.late import Late
from steadystep.recorder.measures import Measures, names_of, parameters_of, values_of
from steadystep.recorder.pause import REPLAYS
from steadystep.recorder.recording import Recording, Trigger
from steadystep.recorder.ring import APPLIED, GRADIENT, LARGEST, LOSS, LR, SCALE, UPDATE, WEIGHT, Ring
from steadystep.recorder.save import save
from steadystep.recorder.snapshots import Snapshots
from steadystep.recorder.watch import StepWatcher
from steadystep.step.accounted import Accounted
from steadystep.step.errors import StepError

logger = logging.getLogger("steadystep")

Batch = TypeVar("Batch")

LAG = 8
"""Steps by which trouble may be noticed late; as many more batches are held until then.

On the CPU, steps and losses are looked at when so many have come: Python that runs once a step, when everything else
has passed through the caches, takes several times as long. What is not finite is looked at at once.
"""


class BlackBox:
    """The records of a run that is going on; see `blackbox`."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        folder: Path | None,
        others: Mapping[str, Any],
        batches: int,
        steps: int,
        max_bytes: int,
        every: int | None,
    ) -> None:
        self.folder = folder
        self.trigger: Trigger | None = None
        self._model, self._optimizer, self._size = model, optimizer, steps
        self._max_bytes, self._keep = max_bytes, batches
        self._batches = LastBatches(batches + LAG)
        self._snapshots = Snapshots(model, optimizer, others, max_bytes, every)
        self._next_snapshot = 0
        self._step = 0
        self._late_losses = Late()
        self._sizes: list[float] = []  # the updates of the last steps, at which nobody has looked yet
        self._losses: list[tuple[int, float]] = []  # steps and their losses, likewise
        self._weights: np.ndarray | None = None  # the norms of the parameters before the coming step
        self._pending: float | torch.Tensor | None = None  # a loss that was given before its step
        self._has_loss = True  # whether the last step has its loss
        self._announced = False  # whether the batch of the coming step was given
        self._until = sys.maxsize  # the step at which the box is full
        self._clock = StepClock()
        self._open = True
        self._of_replay = bool(REPLAYS)  # other boxes rest while a run is replayed
        self._start()

    def _start(self) -> None:
        """Begin a ring for the parameters that the optimizer has now."""
        optimizer = self._optimizer
        self._names = names_of(optimizer, self._model)
        self._ring = Ring(self._size, len(optimizer.param_groups), len(self._names), self._step)
        self._watch = StepWatcher(self._names, self._ring)
        self._measures = _measures(optimizer, self._ring)
        self._measures.attach(self._after_step)

    def watch(self, loader: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches of a loader, and remember the last ones."""
        for batch in loader:
            self.batch(batch)
            yield batch

    def batch(self, batch: Any) -> None:
        """Remember the batch of the step that comes, before it is used.

        Of several batches for a step, the last one is kept, or that with trouble. If a GradScaler or the program leaves
        a step out because its loss or its gradients are not finite, that counts as a step that was not applied.
        """
        # What runs in every step touches as little as it can: what takes time is not the work but the cache misses.
        if REPLAYS and not self._of_replay:
            return
        if self._announced:
            self._batch_again(batch)
            return
        self._announced, self._pending = True, None  # a loss of a step that was not taken
        step, places = self._step, self._batches.places
        places[step % len(places)] = step, batch
        if step >= self._next_snapshot:
            self._look()
            if self.trigger is None and not self._watch.suspicious:
                self._take_snapshot(step)

    def _batch_again(self, batch: Any) -> None:
        """Remember another batch of the same step, or record that the step of the batch before was left out."""
        step = self._step
        if not self._open:
            return
        given, most = self._batches.given(step), max(self._batches.most_per_step, 1)
        if given >= most and not self._batches.is_last(step, batch) and self._has_failed():
            self._after_left_out()
            self.batch(batch)
            return
        self._pending = None  # of an earlier part of the step
        self._batches.again(step, batch, keep=self.trigger is not None and self.trigger.step == step)

    def _has_failed(self) -> bool:
        """Whether the loss or the gradients are such that a step is left out. This waits for a device."""
        if self._pending is not None and not math.isfinite(float(self._pending)):
            return True
        gradients = [each.grad for each in parameters_of(self._optimizer) if each.grad is not None]
        return not all(bool(torch.isfinite(values_of(gradient)).all()) for gradient in gradients)

    def _after_left_out(self) -> None:
        """Record a step that the optimizer was not asked to take."""
        self._look()
        step, ring = self._step, self._ring
        row, measured = ring.numbers[step % self._size], ring.tensors[step % self._size]
        row[LOSS], row[APPLIED], row[SCALE] = math.nan, 0.0, 1.0
        row[LR:] = [float(group["lr"]) for group in self._optimizer.param_groups]
        measured[:], measured[UPDATE] = math.nan, 0.0
        self._weights = None
        self._step = ring.end = step + 1
        self._announced = self._has_loss = False
        self._end_step(step)

    def _end_step(self, step: int) -> None:
        """Record the loss of a recorded step if it is known, and look or stop if it is time."""
        if self._pending is not None:
            self.loss(self._pending)
            self._pending = None
        if len(self._sizes) >= LAG:
            self._look()
        if step >= self._until:
            self.close()

    def loss(self, loss: torch.Tensor | float) -> None:
        """Record the loss of a step, before or after the step is taken.

        It is the loss of the step that was taken last, if that has none yet and no batch was given since; else it is
        that of the step that comes.
        """
        if not self._open or (REPLAYS and not self._of_replay):
            return
        if isinstance(loss, torch.Tensor):
            loss = loss.item() if loss.is_cpu else loss.detach().reshape(1).double()
        elif not isinstance(loss, Real):
            raise TypeError(f"box.loss takes the loss of a step, a number or a tensor, and got {described(loss)}")
        if self._announced or self._has_loss:
            self._set_pending(loss)
            return
        self._has_loss = True
        if isinstance(loss, torch.Tensor):
            self._late_losses.send(self._step - 1, loss)
            return
        self._losses.append((self._step - 1, loss))
        if not math.isfinite(loss):
            self._look()

    def _set_pending(self, loss: float | torch.Tensor) -> None:
        """Keep the loss of the step that comes, which may be the last thing that is heard of it."""
        self._pending = loss
        if not isinstance(loss, torch.Tensor) and not math.isfinite(loss):
            self._look()
            self._judge(self._watch.loss(self._step, loss), self._step)

    def recording(self) -> Recording:
        """Return what is known of the last steps, in memory."""
        self._look()
        self._take_arrived(wait=True)
        ring = self._ring
        places = ring.in_order()
        numbers, tensors = ring.numbers[places], ring.tensors[places]
        return Recording(
            names=self._names,
            steps=np.arange(ring.first, ring.end),
            loss=numbers[:, LOSS],
            lr=numbers[:, LR:],
            applied=numbers[:, APPLIED],
            scale=numbers[:, SCALE],
            gradient=tensors[:, GRADIENT],
            largest=tensors[:, LARGEST],
            update=tensors[:, UPDATE],
            weight=tensors[:, WEIGHT],
            batches=self._batches_around(),
            snapshots=self._snapshots.held(),
            trigger=self.trigger,
            about=self._about(),
        )

    def save(self) -> None:
        """Write the box to its folder now, in place of the one that is there.

        Raises:
            ValueError: if the box has no folder.
            OSError: if the folder cannot be written; the box that was there stays as it was.
        """
        if self.folder is None:
            raise ValueError("this box has no folder, and so nothing to save to: make it with blackbox(..., folder)")
        if REPLAYS and not self._of_replay:
            return
        save(self.recording(), self.folder, self._max_bytes)

    @property
    def nbytes(self) -> int:
        """The memory that records and snapshots take; batches are the caller's."""
        return self._ring.numbers.nbytes + self._ring.tensors.nbytes + self._snapshots.nbytes

    def close(self) -> None:
        """Stop recording: take the hooks off the optimizer. What was recorded stays readable.

        A box with trouble is written again, with what came after the trouble.
        """
        if self._open:
            self._look()
            self._open, self._announced = False, True
            self._measures.detach()
            if self.trigger is not None:
                self._write()

    def _after_step(self, error: BaseException | None) -> None:
        """Record the step that was taken."""
        if (REPLAYS and not self._of_replay) or (error is not None and not isinstance(error, StepError)):
            return
        step, ring, sizes = self._step, self._ring, self._sizes
        size = self._measures.record(step % self._size, error)
        if size is None:  # other parameters
            ring = self._restart()
            size = self._measures.record(step % self._size, error)
            assert size is not None, "the measures were made for these parameters"
        self._step = ring.end = step + 1
        self._announced = self._has_loss = False
        if error is None and 0.0 <= size < math.inf:
            sizes.append(size)
        else:
            self._look()
            self._look_at_unusual(step, size, error)
        if self._weights is not None:
            with np.errstate(over="ignore"):
                ring.tensors[step % self._size, WEIGHT], self._weights = self._weights, None
        self._end_step(step)

    def _look(self) -> None:
        """Look at the steps and losses that have come since the last time."""
        self._clock.look(self._step)
        if sizes := self._sizes:
            self._watch.steps(self._step - len(sizes), sizes)
            sizes.clear()
        if losses := self._losses:
            self._losses = []
            self._judge(self._watch.losses(losses), self._step - 1)

    def _look_at_unusual(self, step: int, size: float, error: BaseException | None) -> None:
        """Look at a step that has failed or was refused, that is not finite, or whose numbers are on a device."""
        if size != size:
            self._take_arrived()
            self._clock.look(self._step)
        else:
            self._judge(self._watch.unusual(step, size, error, self._optimizer.param_groups[0]), step)

    def _take_arrived(self, wait: bool = False) -> None:
        """Look at the records and losses that have arrived from a device."""
        for step, size in self._measures.arrived(wait):
            if 0.0 <= size < math.inf:
                self._watch.steps(step, [size])
            else:
                self._judge(self._watch.unusual(step, size, None, self._optimizer.param_groups[0]), self._step - 1)
        for step, loss in self._late_losses.arrived(wait):
            if self._ring.has(step):
                self._judge(self._watch.losses([(step, float(loss[0]))]), self._step - 1)

    def _take_snapshot(self, step: int) -> None:
        """Take a snapshot if it is time, and then measure the parameters too."""
        with self._clock.left_out():
            if self._snapshots.take(step, self._clock.seconds):
                self._weights = self._measures.weights()
        self._next_snapshot = self._snapshots.next

    def _restart(self) -> Ring:
        self._look()
        before, self._weights = self._measures, None
        before.detach()
        self._start()
        self._measures.count_from(before)
        return self._ring

    def _judge(self, trigger: Trigger | None, step: int) -> None:
        """Freeze the box if there is trouble, which was noticed at this step."""
        if trigger is None or self.trigger is not None:
            return
        self.trigger = trigger
        self._batches.keep_all(self._keep)
        self._until = step + self._keep
        where = "" if self.folder is None else f": what led to it is written to {self.folder}"
        level = logging.INFO if self.folder is None else logging.WARNING
        detail = trigger.detail and f" ({trigger.detail})"
        logger.log(level, "step %d: %s%s%s", trigger.step, trigger.kind, detail, where)
        self._write()  # now, because a run that fails may end before the box is full

    def _write(self) -> None:
        """Save the box; a full disk is no reason to end a run."""
        if self.folder is None:
            return
        try:
            self.save()
        except OSError as error:
            logger.warning("the black box could not be written to %s: %s", self.folder, error)

    def _batches_around(self) -> dict[int, Any]:
        """Return the last batches, or those before and after the trigger."""
        held = self._batches.held()
        if self.trigger is None:
            return dict(list(held.items())[-self._keep :])
        first, last = self.trigger.step - self._keep, self._until
        return {step: batch for step, batch in held.items() if first <= step <= last}

    def _about(self) -> dict[str, Any]:
        optimizer = self._optimizer
        return {
            "optimizer": type(optimizer).__name__,
            "options": dict(optimizer.defaults),
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "steadystep": version("steadystep"),
            "device": ", ".join(sorted({str(parameter.device) for parameter in parameters_of(optimizer)})),
            "batches_per_step": self._batches.most_per_step,
            "snapshot_too_large": self._snapshots.too_large,
        }


def _measures(optimizer: torch.optim.Optimizer, ring: Ring) -> Measures:
    # Their kernels need Numba, which takes a second to import and which a run without a box may never need.
    from steadystep.recorder.foreign import ForeignMeasures
    from steadystep.recorder.guarded import GuardedMeasures
    from steadystep.recorder.own import OwnMeasures

    if isinstance(optimizer, PlannedStep):
        return OwnMeasures(optimizer, ring)
    kind = GuardedMeasures if isinstance(optimizer, Accounted) else ForeignMeasures
    return kind(optimizer, ring)
