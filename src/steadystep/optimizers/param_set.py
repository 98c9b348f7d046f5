"""Parameters that step together: their state, their clocks, and the scalars of their step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from steadystep.clipping.transforms import Transform
from steadystep.kernels.update import Pass, Update, math_dtype
from steadystep.rule import Rule
from steadystep.tracing.graph import Graph, graph_of
from steadystep.tracing.ops import Number, where


@dataclass
class ParamSet:
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

    def apply(self, transforms: Sequence[Transform], accept: Number, update_bound: float | None) -> Number:
        """Write the update of these parameters, and advance their clocks if it is accepted."""
        formula = graph_of(accept)
        on_host = self.clock.is_cpu and formula is None
        clocks = {name: self.states[0][name] for name in self.rule.clocks}
        t = _read(self.clock, formula) + 1
        values = self._values
        values.formula = formula
        if clocks:
            values.clocks = {name: _read(clock, formula) for name, clock in clocks.items()}
            values.clocks = self.rule.advanced(t, values)
        coefficients = self.rule.coefficients(t, values)
        bounded: Number = False
        for run in self.passes:
            bounded = bounded | run.apply(coefficients, transforms, values, accept, update_bound)
        values.formula = None
        clocks["step"] = self.clock
        for name, clock in clocks.items():
            new = values.clocks.get(name, t)
            if formula is not None:
                formula.store(clock, where(accept, new, formula.loaded(clock)))
            elif isinstance(accept, torch.Tensor):
                clock.copy_(torch.where(accept.to(clock.device), new, clock))
            elif on_host:
                clock.numpy()[()] = new
            else:
                clock.fill_(new)
        return bounded

    def start_counters(self) -> None:
        """The rule's own clocks, which these parameters share as they share the step count."""
        for name in self.rule.clocks:
            if name not in self.states[0]:
                clock = torch.ones((), dtype=torch.float64, device=self.clock.device)
                for state in self.states:
                    state[name] = clock


def _read(clock: torch.Tensor, formula: Graph | None) -> Number:
    """What a clock shows, as a number of the host, of the device or of a formula."""
    if formula is not None:
        return formula.loaded(clock)
    return clock.item() if clock.is_cpu else clock.double()


class Hyperparameters(Mapping[str, Any]):
    """A group's hyperparameters as single numbers, betas as beta1 and beta2, and the rule's clocks."""

    def __init__(self, group: Mapping[str, Any]) -> None:
        self._group = group
        self.clocks: Mapping[str, Number] = {}
        self.formula: Graph | None = None  # that the numbers on a device are to be part of

    def __getitem__(self, name: str) -> Any:
        if name in self.clocks:
            return self.clocks[name]
        value = self._group["betas"][_BETAS[name]] if name in _BETAS else self._group[name]
        if isinstance(value, float) and self.formula is None:
            return value
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            if value.is_cpu:
                return value.item()
            return value if self.formula is None else self.formula.loaded(value)
        if name == SCHEDULED and self.formula is not None:
            return self.formula.setting(self._group, name)
        return value

    def __iter__(self) -> Iterator[str]:
        betas = [name for name, index in _BETAS.items() if index < len(self._group.get("betas", ()))]
        return iter([*(name for name in self._group if name != "betas"), *betas, *self.clocks])

    def __len__(self) -> int:
        return sum(1 for _ in self)


SCHEDULED = "lr"
"""What schedulers set before every step: a formula that is kept reads it anew."""

_BETAS = {"beta1": 0, "beta2": 1}


def step_counters(names: Sequence[str], readings: Sequence[float], device: torch.device) -> dict[str, torch.Tensor]:
    """Clocks that show what was saved, for parameters that step together."""
    step_counters = {
        name: torch.full((), value, dtype=torch.float64, device=device)
        for name, value in zip(names, readings, strict=True)
    }
    return {**step_counters, "step": step_counters["step"].float()}


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
