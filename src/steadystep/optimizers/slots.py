"""The state of a parameter: what is missing is created, and what does not fit the parameter is refused."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch

from steadystep.gradients.gradient_set import local_reals
from steadystep.kernels.codegen import arguments_read
from steadystep.kernels.precision import ROUNDING_ERROR, Rounding, is_compensated, storage_dtype
from steadystep.memory.access import check_storage, check_writable, refuse_conjugated
from steadystep.optimizers.arguments import as_plain_value
from steadystep.optimizers.counters import STEP
from steadystep.rule import Rule

_SLOTS_WITHOUT_COUNT = ("momentum_buffer",)
"""The slots of torch's SGD, which counts no steps."""


@cache
def _reads_step(scalars: Callable[..., Any]) -> bool:
    """Return whether the coefficients of a rule depend on the number of the step, which those of Lion do not."""
    return 0 in arguments_read(scalars)


def slots_of(rule: Rule, rounding: Rounding, parameter: torch.Tensor) -> list[str]:
    """Return the names of the per-element state of a parameter."""
    return [*rule.slots, *([ROUNDING_ERROR] if is_compensated(parameter.dtype, rounding) else [])]


def complete_state(
    entry: dict[str, Any], rule: Rule, group: Mapping[str, Any], parameter: torch.Tensor, name: str
) -> list[torch.Tensor]:
    """Create what is missing in the state of a parameter, check the rest, and return the slots in the rule's order.

    Raises:
        ValueError: for state that does not fit its parameter, naming both.
    """
    slots = slots_of(rule, group["rounding"], parameter)
    known = any(entry.get(slot) is not None for slot in slots)
    for slot in slots:
        if entry.get(slot) is None:
            entry[slot] = initial_state(rule, group, slot, parameter)
        else:
            check_slot(entry[slot], slot, parameter, name)
    check_counters(entry, rule, name, known)
    # torch's SGD counts no steps: with state it has taken at least one, and only the first is special.
    starts = {STEP: 1.0 if known else 0.0, **dict.fromkeys(rule.counters, 1.0)}
    for counter, start in starts.items():
        entry.setdefault(counter, start)
    return [entry[slot] for slot in slots]


def check_slot(value: Any, slot: str, parameter: torch.Tensor, name: str, any_device: bool = False) -> None:
    """Raise an error unless a value can be the per-element state of a parameter.

    Saved state may be on any device.

    Raises:
        ValueError: naming the parameter, the slot, what it is, and what it must be.
    """
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"the state {slot!r} of {name} is {value!r}: it must be a tensor like the parameter")
    refuse_conjugated(value, f"the state {slot!r} of {name}")
    expected, found = local_reals(parameter), local_reals(value)
    kind = "complex" if parameter.is_complex() else "floating-point"
    if not (value.is_complex() if parameter.is_complex() else value.is_floating_point()):
        raise ValueError(f"the state {slot!r} of {name} is of {value.dtype}: it must be {kind}")
    if found.shape != expected.shape or not (any_device or value.device == parameter.device):
        raise ValueError(
            f"the state {slot!r} of {name} has shape {tuple(value.shape)} on {value.device}, and the parameter "
            f"{tuple(parameter.shape)} on {parameter.device}: it belongs to another parameter, or to another model"
        )
    (check_storage if any_device else check_writable)(value, f"the state {slot!r} of {name}")


def check_counters(entry: Mapping[str, Any], rule: Rule, name: str, known: bool) -> None:
    """Raise an error unless the counters of a parameter count something, and steps are counted where they matter.

    `known` says whether the parameter has per-element state, which is that of an unknown step without their number.

    Raises:
        ValueError: naming the parameter and the counter.
    """
    counted = _reads_step(rule.scalars) and rule.slots != _SLOTS_WITHOUT_COUNT
    if known and counted and STEP not in entry:
        raise ValueError(
            f"the state of {name} has no {STEP!r}: add the number of steps that {', '.join(rule.slots)} come from, or "
            "start without state"
        )
    for counter in (STEP, *rule.counters):
        if counter in entry:
            check_counter(entry[counter], counter, name)


def check_counter(value: Any, counter: str, name: str) -> None:
    """Raise an error unless a value can be a counter.

    Raises:
        ValueError: naming the parameter, the counter and what it is.
    """
    single = value.numel() == 1 if isinstance(value, torch.Tensor) else isinstance(value, int | float)
    if not single:
        raise ValueError(f"the state {counter!r} of {name} is {value!r}: it must be a single number")
    if isinstance(value, torch.Tensor) and not value.is_cpu:
        return  # reading it would wait for the device
    if not 0 <= float(value) < math.inf:
        raise ValueError(f"the state {counter!r} of {name} is {float(value)}: it must be a finite number from 0 up")


def slot_dtype(slot: str, group: Mapping[str, Any], parameter: torch.Tensor) -> torch.dtype:
    """Return the dtype of a slot of a parameter's state. What rounding has taken is always stored precisely."""
    return storage_dtype(parameter, None if slot == ROUNDING_ERROR else as_plain_value(group["state_dtype"]))


def initial_state(rule: Rule, group: Mapping[str, Any], slot: str, parameter: torch.Tensor) -> torch.Tensor:
    """Return the state of a slot as it is before the first step."""
    start = rule.start.get(slot, 0.0)
    value = group[start] if isinstance(start, str) else start
    if parameter.is_complex():
        value = complex(value, value)  # the real and the imaginary part have state like two real numbers
    return torch.full_like(
        parameter, value, dtype=slot_dtype(slot, group, parameter), memory_format=torch.preserve_format
    )
