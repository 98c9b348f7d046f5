"""Check the arguments of an optimizer's constructor, and convert them to Python numbers."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from numbers import Real
from typing import Any, get_args

import numpy as np
import torch

from steadystep.arguments import described, refuse_unknown
from steadystep.kernels.precision import Rounding
from steadystep.rule import Decay, Range

_INSTEAD = {
    "foreach": "how a step is computed is chosen by backend=",
    "fused": "how a step is computed is chosen by backend=",
    "capturable": "a CUDA graph can capture its steps without it",
    "differentiable": "a step writes in place, outside autograd; torch.optim has steps that can be differentiated",
    "decoupled_weight_decay": "AdamW is Adam with decoupled weight decay",
}
"""What to use instead of arguments that only torch.optim has."""


def refuse_unknown_arguments(constructor: Callable[..., None]) -> Callable[..., None]:
    """Make a constructor raise a TypeError that lists its arguments when it is called with an unknown one."""
    names = list(inspect.signature(constructor).parameters)[2:]  # without self and params

    @wraps(constructor)
    def checked(self: Any, *arguments: Any, **options: Any) -> None:
        refuse_unknown(type(self).__name__, options.keys() - {"params"}, names, _INSTEAD)
        constructor(self, *arguments, **options)

    return checked


def check_params(optimizer: str, params: Any) -> None:
    """Raise a TypeError if an optimizer gets a module, or nothing to iterate over, in place of its parameters."""
    if isinstance(params, torch.nn.Module):
        raise TypeError(
            f"{optimizer} takes parameters, and got the module {type(params).__name__}: give it model.parameters(), or "
            "model.named_parameters(), whose names errors and the ledger then use"
        )
    if not isinstance(params, Iterable):
        raise TypeError(f"{optimizer} takes parameters, and got {described(params)}: give it model.parameters()")


def check_group(
    optimizer: str,
    group: Mapping[str, Any],
    variants: Sequence[str],
    bounds: Mapping[str, Range],
    defaults: Mapping[str, Any],
) -> None:
    """Raise a ValueError if an option of a parameter group is invalid.

    Args:
        optimizer: the name that the message gives.
        group: the parameter group, with all its options.
        variants: the variants that there are.
        bounds: the range of each hyperparameter.
        defaults: those of the constructor, which say whether an option is True or False, and how many numbers it has.
    """
    check_choices(optimizer, group, variants)
    for name, default in defaults.items():
        if isinstance(default, bool) and not isinstance(group.get(name, default), bool):
            raise ValueError(f"{name} is {group[name]!r}: {optimizer} accepts True or False")
    for name, accepted in bounds.items():
        value, default = group[name], defaults.get(name)
        values = value if isinstance(value, tuple | list) else (value,)
        if isinstance(default, tuple | list) and len(values) != len(default):
            count = {2: "two", 3: "three"}.get(len(default), str(len(default)))
            raise ValueError(f"{name} is {value!r}: {optimizer} accepts {count} numbers in {accepted}")
        for index, entry in enumerate(values):
            number = entry.item() if isinstance(entry, torch.Tensor) and entry.numel() == 1 else entry
            if not isinstance(number, int | float) or isinstance(number, bool) or number not in accepted:
                label = f"{name}[{index}]" if len(values) > 1 else name
                raise ValueError(f"{label} is {entry!r}: {optimizer} accepts a number in {accepted}")


def check_choices(optimizer: str, group: Mapping[str, Any], variants: Sequence[str]) -> None:
    """Raise a ValueError if an option of a parameter group is none of its choices; see `check_group`."""
    if group["variant"] not in variants:
        raise ValueError(f"variant is {group['variant']!r}: {optimizer} has {', '.join(map(repr, variants))}")
    if group["rounding"] not in get_args(Rounding):
        raise ValueError(f"rounding is {group['rounding']!r}: it must be one of {', '.join(get_args(Rounding))}")
    if as_plain_value(group["state_dtype"]) not in (None, "bfloat16"):
        raise ValueError(
            f"state_dtype is {group['state_dtype']!r}: {optimizer} stores moments in torch.bfloat16, or, by default, "
            "in the precision of the update"
        )


def check_numbers(optimizer: str, group: Mapping[str, Any], bounds: Mapping[str, Range]) -> None:
    """Raise a ValueError if a hyperparameter, which a user or a scheduler may have set, is no number.

    It may be outside the range that the constructor accepts.
    """
    for name, accepted in bounds.items():
        value = group[name]
        for entry in value if isinstance(value, tuple | list) else (value,):
            if not isinstance(entry, Real | torch.Tensor):
                raise ValueError(f"{name} is {value!r}: {optimizer} accepts a number in {accepted}")


def check_decay(optimizer: str, group: Mapping[str, Any], decay: Decay) -> None:
    """Raise a ValueError if a parameter group of torch's Adam has a decoupled weight decay that its rule has not."""
    if decay == "coupled" and group.get("decoupled_weight_decay") and group.get("weight_decay"):
        raise ValueError(
            f"decoupled_weight_decay is True: {optimizer} adds the decay to the gradient; AdamW is Adam with decoupled "
            "weight decay"
        )


def check_base_lr(optimizer: str, group: Mapping[str, Any]) -> None:
    """Raise a ValueError unless a group's initial learning rate, which its rule divides by, is greater than 0."""
    if not group.get("base_lr", base_lr(group)) > 0:
        raise ValueError(
            f"lr is {group['lr']!r}: {optimizer} with variant={group['variant']!r} compares it with the first learning "
            "rate, which must be greater than 0: start from a positive lr, which a scheduler may then set to 0, or "
            "give the parameter group a base_lr"
        )


def as_plain_value(value: Any) -> Any:
    """Convert numbers to Python numbers, and dtypes to names, so that a checkpoint can be loaded safely.

    float32 becomes None, the default of `state_dtype`.
    """
    if isinstance(value, torch.dtype):
        value = str(value).removeprefix("torch.")
    if isinstance(value, str):
        return None if value == "float32" else value
    if isinstance(value, tuple) and any(isinstance(one, np.generic) for one in value):
        return tuple(map(as_plain_value, value))
    if isinstance(value, np.generic):
        return value.item()
    return float(value) if isinstance(value, Real) and not isinstance(value, int | float) else value


def base_lr(group: Mapping[str, Any]) -> float:
    """Return the initial learning rate of a group."""
    return float(group.get("initial_lr", group["lr"]))
