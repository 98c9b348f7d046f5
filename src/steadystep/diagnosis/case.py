"""A recorded run, and the questions that replays can answer about it."""

import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from steadystep.diagnosis import examples
from steadystep.diagnosis.changes import Change, reset, with_batches
from steadystep.diagnosis.errors import RunError
from steadystep.diagnosis.operations import Edit, Event, Place, Seen, operations
from steadystep.diagnosis.own_step import WATCHED, OwnStep, watched
from steadystep.diagnosis.play import Played, Step, converted, norm_of, play
from steadystep.diagnosis.precision import wide_batch, widened
from steadystep.diagnosis.result import Evidence
from steadystep.diagnosis.run import Moment, Run
from steadystep.recorder.blackbox import blackbox

REFERENCES = 5
"""Batches on which all weights are compared, so that noise between batches does not count."""
HORIZON = 200
"""Steps for which a fix must hold."""
RESUMED = 0.2
"""A loss at the start below this share of that of fresh weights: the weights were trained."""
HEALING = 50
"""Steps after which a damage that is only noise has healed."""
BACK = 20
"""Steps before a trouble from which fixes are replayed."""
_MOMENTS = 40
_MEMORY = 2**29

Gradients = dict[str, torch.Tensor]


@dataclass
class Probe:
    """What one forward and backward pass has shown."""

    loss: float = math.nan
    gradients: Gradients = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)
    error: Exception | None = None

    @property
    def forward_is_finite(self) -> bool:
        """Whether the loss is finite."""
        return math.isfinite(self.loss)

    @property
    def is_finite(self) -> bool:
        """Whether the loss and all gradients are finite."""
        return self.error is None and self.forward_is_finite and not self.nonfinite

    @property
    def nonfinite(self) -> list[str]:
        """The names of the gradients that are not finite."""
        return [name for name, gradient in self.gradients.items() if not math.isfinite(norm_of(gradient))]

    @property
    def norm(self) -> float:
        """The norm of all gradients."""
        return math.sqrt(sum(norm_of(gradient) ** 2 for gradient in self.gradients.values()))

    @property
    def event(self) -> Event | None:
        """Where something first became not finite."""
        return self.seen.first("forward" if not self.forward_is_finite else "backward")


class Case:
    """A run that has been played to its trouble or its end, with moments to replay from.

    Args:
        run: the run, which must be at its start.
        steps: the steps to play; None: those of the run.
        tell: called with what is being done.
        keep: the folder of the black box under which the run is played; None: without one.
    """

    def __init__(
        self, run: Run, steps: int | None, tell: Callable[[str, float | None], None], keep: Path | None = None
    ) -> None:
        self.run, self.tell, self.first = run, tell, run.first
        self.started = time.perf_counter()
        self.evidence: list[Evidence] = []
        self.tried: dict[int, Any] = {}
        self.replayable = True  # until two replays of the same steps differ
        self.start = run.take()
        self.moments: dict[int, Moment] = {self.first: self.start}
        self._references: dict[int, float] = {}
        self.planned = steps or run.length
        # Its kernels take seconds to compile where they have never been used.
        self._box = blackbox(run.model, run.optimizer, keep, others=run.others(), max_bytes=_MEMORY) if keep else None
        self.recorded = self._record()
        self.steps = self.recorded.steps
        self.recording = self._box.recording() if self._box else None

    def save_box(self) -> None:
        """Write the black box, if there is one."""
        if self._box is not None:
            self._box.save()

    def _record(self) -> Played:
        every = max(1, self.planned // _MOMENTS)
        box = self._box

        def keep(step: Step) -> bool:
            if box is not None:
                box.loss(step.loss)
            self.tell("running", (step.index + 1 - self.first) / self.planned)
            if step.nonfinite_parameters or not math.isfinite(step.loss):
                return True
            if (step.index + 1 - self.first) % every == 0 and self._room():
                self.moments[step.index + 1] = self.run.take()
            return self._refused(step)

        def seen(index: int, batch: Any) -> Any:
            if box is not None:
                box.batch(batch)
            return batch

        try:
            indices = range(self.first, self.first + self.planned)
            played = play(self.run, self.start, indices, with_batches(seen, "recorded"), each=keep)
        finally:
            if box is not None:
                box.close()
        if not (played.error or played.broken):
            self.moments[self.first + len(played.steps)] = self.run.take()
        return played

    def _room(self) -> bool:
        size = sum(tensor.nbytes for tensor in self.start.state.model.values())
        return size * 3 * len(self.moments) < _MEMORY

    def _refused(self, step: Step) -> bool:
        """Whether gradients that are not finite reached the optimizer, other than while a scaler finds its scale."""
        return bool(step.nonfinite_gradients) and self.run.scaler is None

    def at(self, step: int) -> Moment:
        """Return the moment before a step."""
        if step not in self.moments:
            first = max(known for known in self.moments if known < step)
            play(self.run, self.moments[first], range(first, step))
            self.moments[step] = self.run.take()
        return self.moments[step]

    def replay(self, first: int, count: int, *changes: Change) -> Played:
        """Play steps from a recorded moment on, and compare the reference batches in the end."""
        return self.play(self.at(first), first, count, *changes)

    def play(self, moment: Moment, first: int, count: int, *changes: Change) -> Played:
        """Play steps from any moment on, and compare the reference batches in the end."""
        return play(self.run, moment, range(first, first + count), *changes, measure=self._loss)

    def probe(
        self,
        moment: Moment,
        batch: Any,
        *,
        dtype: torch.dtype | None = None,
        look: bool = False,
        edits: Mapping[Place, Edit] | None = None,
    ) -> Probe:
        """Compute loss and gradients at a moment, in the run's own types or in a wider one.

        Args:
            moment: the weights, buffers and random numbers to compute with.
            batch: the batch.
            dtype: a wider type.
            look: whether to note every function that is called.
            edits: functions to call in another way.
        """
        factor = self.factor  # which may have to be found out by a replay, before anything is computed here
        self.run.put_back(moment)
        found = Probe()
        with ExitStack() as around:
            if dtype is not None:
                around.enter_context(widened(self.run, dtype))
                batch = wide_batch(batch, dtype)
            for _, parameter in self.run.parameters():
                parameter.grad = None
            try:
                if look or edits:
                    with operations(self.run.model, found.seen if look else None, edits) as followed:
                        loss = self.run.loss(batch)
                    if look:
                        followed.watch_backward()
                else:
                    loss = self.run.loss(batch)
                found.loss = float(loss.detach())
                (loss * factor).backward()
            except RunError:
                raise
            except Exception as error:  # noqa: BLE001 the error of the user's code is what the probe finds
                found.error = error
            for name, parameter in self.run.parameters():
                if parameter.grad is not None:
                    found.gradients[name] = parameter.grad.detach() / factor
                    parameter.grad = None
        return found

    @cached_property
    def own_step(self) -> OwnStep | None:
        """What the run's own step does, if it has one."""
        if not self.run.has_own_step:
            return None
        stretches = [(self.start, range(self.first, self.first + min(WATCHED, len(self.steps))))]
        if len(self.steps) > WATCHED:
            later = max(self.first + WATCHED, self.last + 1 - WATCHED)
            stretches.append((self.at(later), range(later, self.last + 1)))
        return watched(self.run, stretches)

    @property
    def factor(self) -> float:
        """The factor by which the run's own step multiplies the loss before its backward pass."""
        return self.own_step.factor if self.own_step is not None else 1.0

    def reference(self, step: int) -> float:
        """Return the mean loss of the reference batches with the weights of before a step."""
        if step not in self._references:
            self._references[step] = self.loss_before(step)
        return self._references[step]

    def reference_at_the_end(self, damage: int) -> float:
        """Return the mean loss of the reference batches at the end, which leaves a damage time to heal.

        If there are fewer than `HEALING` steps after it, as many more are played. A run that has no batches for them
        ends where it was recorded to.
        """
        end = self.good_moments()[-1]
        more = damage + HEALING - end
        if more <= 0:
            return self.reference(end)
        played = self.replay(end, more)
        return self.reference(end) if played.error is not None else played.end

    def loss_before(self, step: int, *changes: Change) -> float:
        """Return the mean loss of the reference batches with the weights of before a step, while changes hold."""
        lasting = (dataclasses.replace(change, begin=lambda run: None) for change in changes)
        return play(self.run, self.at(step), (), *lasting, measure=self._loss).end

    def _loss(self, changes: tuple[Change, ...]) -> float:
        """Return the mean of the finite losses of the reference batches; NaN if most are not."""
        found, spread, now = [], self.reference_batches, self.run.take()
        for index in spread:
            try:
                batch = converted(self.run.batch(index), changes)
                found.append(float(self.run.loss(batch).detach()))
            except RunError:
                raise
            except Exception:  # noqa: BLE001 a model that cannot compute its loss has none
                return math.nan
            self.run.put_back(now)
        finite = [loss for loss in found if math.isfinite(loss)]
        return sum(finite) / len(finite) if 2 * len(finite) > len(found) else math.nan

    @cached_property
    def reference_batches(self) -> list[int]:
        """Return the steps whose batches are references: spread over what was run, without the last ones.

        Of a run that ends at once, they are the first that are finite, without that of its last step.
        """
        last = len(self.steps) - 3
        if last < REFERENCES:
            indices = range(self.first, self.first + 4 * REFERENCES)
            known = (index for index in indices if index != self.last and self.has_batch(index))
            finite = (index for index in known if examples.nonfinite(self.run.batch(index)) is None)
            return list(itertools.islice(finite, REFERENCES)) or [self.first]
        return sorted({self.first + round(last * part / REFERENCES) for part in range(REFERENCES)})

    def has_batch(self, index: int) -> bool:
        """Whether there is a batch for a step."""
        try:
            self.run.batch(index)
        except RunError:  # the batches of a box, or of a function, may end there
            return False
        return True

    @cached_property
    def untrained(self) -> float:
        """The loss of the reference batches with freshly initialised weights; NaN if the modules cannot do that."""
        modules = self.run.model.named_modules()
        names = [name for name, module in modules if callable(getattr(module, "reset_parameters", None))]
        return self.play(self.start, self.first, 0, reset(names)).end if names else math.nan

    @cached_property
    def level(self) -> float:
        """What a change of the loss is compared with: the loss at the start, or how much it varies if that is more.

        For weights that were trained before, it is at least a fifth of the loss of untrained ones.
        """
        losses = [step.loss for step in self.steps if math.isfinite(step.loss)]
        spread = statistics.pstdev(losses) if len(losses) > 1 else 0.0
        first = abs(self.reference(self.first))
        varies = min(spread, abs(losses[0]) if losses else 0.0)
        trained = RESUMED * self.untrained if first < RESUMED * self.untrained else 0.0
        return max(first, varies, trained, 1e-12)

    @property
    def last(self) -> int:
        """The number of the last step."""
        return self.steps[-1].index

    def step(self, index: int) -> Step:
        """Return what was recorded of a step."""
        return self.steps[index - self.first]

    def window(self, low: int, high: int) -> list[Step]:
        """Return what was recorded of the steps from `low` to before `high`."""
        return self.steps[max(0, low - self.first) : max(0, high - self.first)]

    def before(self, step: int, back: int = BACK) -> int:
        """Return a step before another one from which to replay, or the first."""
        return max(self.first, step - back)

    def good_moments(self) -> list[int]:
        """Return the recorded moments, oldest first."""
        return sorted(self.moments)

    def note(self, swap: str, outcome: str, healthy: bool | None = None) -> None:
        """Add what was tried to the evidence."""
        self.evidence.append(Evidence(swap, outcome, healthy))
