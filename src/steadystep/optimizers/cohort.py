"""Parameters that step together: their state, their clocks, and the scalars of their step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from steadystep.clipping.stages import Stage
from steadystep.kernels.passes import Pass, Update, math_dtype
from steadystep.maths import Number
from steadystep.rule import Rule


@dataclass
class Cohort:
    """Parameters of a group that have always stepped together: one clock, one set of coefficients."""

    rule: Rule
    group: Mapping[str, Any]
    clock: torch.Tensor
    states: list[dict[str, Any]] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)

    def leave(self) -> None:
        """From now on these parameters count their steps apart from the others that had the same clock."""
        shared = {
            "step": self.clock,
            **{name: self.states[0][name] for name in self.rule.clocks if name in self.states[0]},
        }
        own = {name: value.clone() for name, value in shared.items()}
        self.clock = own["step"]
        for state in self.states:
            state.update(own)

    def apply(self, stages: Sequence[Stage], accept: Number, update_bound: float | None) -> Number:
        """Write the update of these parameters, and advance their clocks if it is accepted."""
        on_host = self.clock.device.type == "cpu"
        clocks = {name: self.states[0][name] for name in self.rule.clocks}
        t = self.clock.item() + 1 if on_host else self.clock.double() + 1
        values = hyperparameters(self.group) | {
            name: clock.item() if on_host else clock for name, clock in clocks.items()
        }
        advanced = self.rule.advanced(t, values)
        values |= advanced
        coefficients = self.rule.coefficients(t, values)
        bounded: Number = False
        for run in self.passes:
            bounded = bounded | run.apply(coefficients, stages, values, accept, update_bound)
        advanced["step"], clocks["step"] = t, self.clock
        for name, clock in clocks.items():
            if isinstance(accept, torch.Tensor):
                clock.copy_(torch.where(accept.to(clock.device), advanced[name], clock))
            else:
                clock.fill_(advanced[name])
        return bounded

    def start_clocks(self) -> None:
        """The rule's own clocks, which these parameters share as they share the step count."""
        for name in self.rule.clocks:
            if name not in self.states[0]:
                clock = torch.ones((), dtype=torch.float64, device=self.clock.device)
                for state in self.states:
                    state[name] = clock


def hyperparameters(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's hyperparameters as single numbers: betas becomes beta1 and beta2."""
    flat = dict(group)
    for index, beta in enumerate(flat.pop("betas", ()), start=1):
        flat[f"beta{index}"] = beta
    for name, value in flat.items():
        if isinstance(value, torch.Tensor) and value.numel() == 1 and value.device.type == "cpu":
            flat[name] = value.item()
    return flat


def dials(names: Sequence[str], readings: Sequence[float], device: torch.device) -> dict[str, torch.Tensor]:
    """Clocks that show what was saved, for parameters that step together."""
    dials = {
        name: torch.full((), value, dtype=torch.float64, device=device)
        for name, value in zip(names, readings, strict=True)
    }
    return {**dials, "step": dials["step"].float()}


def new_clock(device: torch.device) -> torch.Tensor:
    return torch.zeros((), dtype=torch.float32, device=device)


def state_dtype(parameter: torch.Tensor) -> torch.dtype:
    if parameter.is_complex():
        return parameter.dtype
    return math_dtype(parameter)


def start(rule: Rule, group: Mapping[str, Any], slot: str, parameter: torch.Tensor) -> torch.Tensor:
    start = rule.start.get(slot, 0.0)
    value = group[start] if isinstance(start, str) else start
    if parameter.is_complex():
        value = complex(value, value)  # state is kept for the real and the imaginary part, each as a real number
    return torch.full_like(parameter, value, dtype=state_dtype(parameter), memory_format=torch.preserve_format)
