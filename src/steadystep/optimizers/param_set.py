"""Parameters that step together: their state, their step counter, and the scalars of their step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from steadystep.clipping.transforms import Transform
from steadystep.kernels.precision import math_dtype
from steadystep.kernels.update import Update, UpdatePass
from steadystep.optimizers.hyperparameters import Hyperparameters
from steadystep.rule import Rule
from steadystep.tracing.ops import Number
from steadystep.tracing.verdict import Verdict


@dataclass
class ParamSet:
    """Parameters of a group that have always stepped together: they share one step counter and their coefficients."""

    rule: Rule
    group: Mapping[str, Any]
    step: torch.Tensor  # the step counter
    states: list[dict[str, Any]] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    passes: list[UpdatePass] = field(default_factory=list)

    @cached_property
    def _values(self) -> Hyperparameters:
        return Hyperparameters(self.group)

    def split_off(self) -> None:
        """Give these parameters their own counters, because others that shared the counters do not take this step."""
        shared = {
            "step": self.step,
            **{name: self.states[0][name] for name in self.rule.counters if name in self.states[0]},
        }
        copies = {name: value.clone() for name, value in shared.items()}
        self.step = copies["step"]
        for state in self.states:
            state.update(copies)

    def apply(self, transforms: Sequence[Transform], verdict: Verdict, update_bound: float | None) -> Number:
        """Write the update of these parameters, and advance their counters if the verdict accepts the step."""
        counters = {name: self.states[0][name] for name in self.rule.counters}
        t = verdict.load(self.step) + 1
        values = self._values
        values.graph = verdict.graph
        if counters:
            values.counters = {name: verdict.load(counter) for name, counter in counters.items()}
            values.counters = self.rule.advanced(t, values)
        coefficients = self.rule.coefficients(t, values)
        bounded: Number = False
        for one in self.passes:
            bounded = bounded | one.apply(coefficients, transforms, values, verdict, update_bound)
        values.graph = None
        counters["step"] = self.step
        for name, counter in counters.items():
            verdict.store(counter, values.counters.get(name, t))
        return bounded

    def start_counters(self) -> None:
        """Create the rule's counters, which these parameters share like the step counter."""
        for name in self.rule.counters:
            if name not in self.states[0]:
                counter = torch.ones((), dtype=torch.float64, device=self.step.device)
                for state in self.states:
                    state[name] = counter


def new_step_counter(device: torch.device) -> torch.Tensor:
    """Return a step counter of 0, in float32 as in torch.optim."""
    return torch.zeros((), dtype=torch.float32, device=device)


def restored_counters(names: Sequence[str], counts: Sequence[float], device: torch.device) -> dict[str, torch.Tensor]:
    """Return counters with the saved counts, for parameters that step together."""
    counters = {
        name: torch.full((), count, dtype=torch.float64, device=device)
        for name, count in zip(names, counts, strict=True)
    }
    return {**counters, "step": counters["step"].float()}


def state_dtype(parameter: torch.Tensor) -> torch.dtype:
    """Return the dtype of a parameter's state."""
    return parameter.dtype if parameter.is_complex() else math_dtype(parameter)


def initial_state(rule: Rule, group: Mapping[str, Any], slot: str, parameter: torch.Tensor) -> torch.Tensor:
    """Return the state of a slot as it is before the first step."""
    start = rule.start.get(slot, 0.0)
    value = group[start] if isinstance(start, str) else start
    if parameter.is_complex():
        value = complex(value, value)  # the real and the imaginary part have state like two real numbers
    return torch.full_like(parameter, value, dtype=state_dtype(parameter), memory_format=torch.preserve_format)
