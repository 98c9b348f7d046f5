"""The measurements of an optimizer that makes none, taken before and after its step."""

from typing import Any

import numpy as np
import torch

from steadystep.gradients.gradient_set import GradientSet, gather_gradients
from steadystep.kernels.dispatch import measure
from steadystep.memory.fingerprint import StepMemory, step_memory
from steadystep.recorder.measures import Finished, Measures
from steadystep.recorder.own import as_slice
from steadystep.recorder.ring import Ring
from steadystep.recorder.sample import moved_sample
from steadystep.step.guarded_step import scaler_of


class ForeignMeasures(Measures):
    """Measures the gradients that a torch optimizer is given, and how far its step moves the parameters."""

    def __init__(self, optimizer: torch.optim.Optimizer, ring: Ring) -> None:
        super().__init__(optimizer, ring)
        self._sample = moved_sample(self.parameters)
        self._hooks: list[Any] = []
        self._gradients: GradientSet | None = None
        self._memory: StepMemory | None = None  # of the gradients, where one compiled pass measures them
        self._seen = self._looked = False
        self._on_the_way: tuple[Any, Any] = (np.nan, np.nan)  # norms and largest magnitudes on a device

    def attach(self, finished: Finished) -> None:
        """Begin to measure, and call `finished` after each step."""

        def before(*_: Any) -> None:
            self._before()

        def after(*_: Any) -> None:
            finished(None)

        optimizer = self.optimizer
        self._hooks = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]

    def detach(self) -> None:
        """Stop measuring."""
        for hook in self._hooks:
            hook.remove()

    def record(self, place: int, error: BaseException | None) -> float | None:
        """Write the record of the last step; see `Measures.record`."""
        if not self._same_parameters():
            return None
        if not self._seen:  # a closure has computed the gradients within the step
            self._measure()
        looked, self._seen, self._looked = self._looked, False, False
        update = self._sample.moved() if looked else self.update * np.nan
        if self.late is not None:
            return self._send(place, (np.nan, 1.0, 1.0), *self._on_the_way, update)
        self.update[:] = update
        return self._write(place, True, 1.0, knows_update=looked)

    def _before(self) -> None:
        if not self._same_parameters():  # the record of the step will tell
            return
        self._seen = any(parameter.grad is not None for parameter in self.parameters)
        if self._seen:
            self._measure()
        self._sample.look()
        self._looked = True

    def _measure(self) -> None:
        """Measure the gradients as the optimizer works with them."""
        groups, gradients = self.optimizer.param_groups, self._gradients
        memory = self._memory
        if memory and gradients and gradients.renew(groups) and memory.holds(gradients.gradients):
            norms, peaks = gradients.prepared["norm_pass"].run(memory.addresses)
            self._note(gradients, norms, peaks)
            return
        self._gradients = gradients = gather_gradients(groups, "blackbox")
        self.at, self._memory = as_slice(gradients.positions), None
        self.gradient.fill(np.nan)
        self.largest.fill(np.nan)
        if gradients.gradients:
            measured = measure(gradients)
            if gradients.renewable and gradients.prepared.get("norm_pass") is not None and gradients.home.type == "cpu":
                self._memory = step_memory(gradients.parameters, gradients.gradients)
            self._note(gradients, measured.norms, measured.abs_max)

    def _note(self, gradients: GradientSet, norms: Any, peaks: Any) -> None:
        if getattr(self.optimizer, "found_inf", None) is not None:  # a fused step that divides by the scale itself
            scaler = scaler_of(self.optimizer)
            scale = 1.0 if scaler is None else scaler.scale
            norms, peaks = norms / scale, peaks / scale
        if self.late is not None:
            self._on_the_way = norms, peaks
            gradients.release()
            return
        self.gradient[self.at], self.largest[self.at] = norms, peaks
        gradients.release()
