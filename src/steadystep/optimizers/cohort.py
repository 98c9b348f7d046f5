"""Parameters that step together: their state, their clocks, and the scalars of their step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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

    @cached_property
    def _values(self) -> "Hyperparameters":
        return Hyperparameters(self.group)

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
        on_host = self.clock.is_cpu
        clocks = {name: self.states[0][name] for name in self.rule.clocks}
        t = self.clock.item() + 1 if on_host else self.clock.double() + 1
        values = self._values
        if clocks:
            values.clocks = {name: clock.item() if on_host else clock for name, clock in clocks.items()}
            values.clocks = self.rule.advanced(t, values)
        coefficients = self.rule.coefficients(t, values)
        bounded: Number = False
        for run in self.passes:
            bounded = bounded | run.apply(coefficients, stages, values, accept, update_bound)
        clocks["step"] = self.clock
        for name, clock in clocks.items():
            new = values.clocks.get(name, t)
            if isinstance(accept, torch.Tensor):
                clock.copy_(torch.where(accept.to(clock.device), new, clock))
            elif on_host:
                clock.numpy()[()] = new
            else:
                clock.fill_(new)
        return bounded

    def start_clocks(self) -> None:
        """The rule's own clocks, which these parameters share as they share the step count."""
        for name in self.rule.clocks:
            if name not in self.states[0]:
                clock = torch.ones((), dtype=torch.float64, device=self.clock.device)
                for state in self.states:
                    state[name] = clock


class Hyperparameters(Mapping[str, Any]):
    """A group's hyperparameters as single numbers, betas as beta1 and beta2, and the rule's clocks."""

    def __init__(self, group: Mapping[str, Any]) -> None:
        self._group = group
        self.clocks: Mapping[str, Number] = {}

    def __getitem__(self, name: str) -> Any:
        if name in self.clocks:
            return self.clocks[name]
        value = self._group["betas"][_BETAS[name]] if name in _BETAS else self._group[name]
        if isinstance(value, torch.Tensor) and value.numel() == 1 and value.is_cpu:
            return value.item()
        return value

    def __iter__(self) -> Iterator[str]:
        betas = [name for name, index in _BETAS.items() if index < len(self._group.get("betas", ()))]
        return iter([*(name for name in self._group if name != "betas"), *betas, *self.clocks])

    def __len__(self) -> int:
        return sum(1 for _ in self)


_BETAS = {"beta1": 0, "beta2": 1}


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
