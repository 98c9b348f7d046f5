"""Take the whole state of a run, and put it back in place, to the last bit."""

import copy
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class State:
    """Copies of everything that decides how a run goes on.

    The optimizer's state is by the position of the parameter among all parameters of all groups, and its groups are
    without their parameters.
    """

    model: Tensors
    """Parameters and buffers, also those that are not saved with the model."""
    optimizer: dict[int, Any]
    groups: tuple[dict[str, Any], ...]
    others: dict[str, Any]
    """What `state_dict` of a scaler, a scheduler and the like returns, by their names."""
    rng: dict[str, Any]


@torch.no_grad()
def take(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    others: Mapping[str, Any] | None = None,
    into: State | None = None,
) -> State:
    """Copy the state of a run. Tensors stay on their device.

    Args:
        model: the model.
        optimizer: the optimizer.
        others: a scaler, a scheduler and the like, by name.
        into: a state whose memory is used again, so that nothing is allocated; it is of no use afterwards.
    """
    old = into or State({}, {}, (), {}, {})
    places = {parameter: number for number, parameter in enumerate(_parameters(optimizer))}
    groups = optimizer.param_groups
    old_groups = old.groups if len(old.groups) == len(groups) else ({},) * len(groups)
    return State(
        model={name: _into(old.model.get(name), tensor) for name, tensor in _tensors(model).items()},
        optimizer={
            places[owner]: _into(old.optimizer.get(places[owner]), entry)
            for owner, entry in optimizer.state.items()
            if owner in places
        },
        groups=tuple(
            {name: _into(before.get(name), value) for name, value in group.items() if name != "params"}
            for group, before in zip(groups, old_groups, strict=True)
        ),
        others={name: _into(old.others.get(name), other.state_dict()) for name, other in (others or {}).items()},
        rng=take_rng(),
    )


def bytes_of(model: nn.Module, optimizer: torch.optim.Optimizer, others: Mapping[str, Any] | None = None) -> int:
    """Return the size of the tensors of a run's state."""
    held = [tensor for entry in optimizer.state.values() for tensor in entry.values()]
    tensors = [*_tensors(model).values(), *(value for value in held if isinstance(value, torch.Tensor))]
    return sum(tensor.nbytes for tensor in tensors)


@torch.no_grad()
def put_back(
    state: State, model: nn.Module, optimizer: torch.optim.Optimizer, others: Mapping[str, Any] | None = None
) -> None:
    """Give a run the state that was taken from it. Tensors keep their addresses where shapes and types agree."""
    put_back_model(state, model)
    put_back_optimizer(state, optimizer)
    for name, other in (others or {}).items():
        if name in state.others:
            other.load_state_dict(copied(state.others[name]))
    put_back_rng(state.rng)


@torch.no_grad()
def put_back_model(state: State, model: nn.Module) -> None:
    """Give a model its parameters and buffers back."""
    for name, tensor in _tensors(model).items():
        if name in state.model:
            tensor.copy_(state.model[name])


@torch.no_grad()
def put_back_optimizer(state: State, optimizer: torch.optim.Optimizer) -> None:
    """Give an optimizer its state and options back.

    `load_state_dict` would not do: it casts the moments to the type of their parameters.
    """
    for number, parameter in enumerate(_parameters(optimizer)):
        if number in state.optimizer:
            optimizer.state[parameter] = _into(optimizer.state.get(parameter), state.optimizer[number])
        else:
            optimizer.state.pop(parameter, None)
    for group, saved in zip(optimizer.param_groups, state.groups, strict=True):
        for name in group.keys() - saved.keys() - {"params"}:
            del group[name]
        for name, value in saved.items():
            group[name] = _into(group.get(name), value)


def copied(value: Any) -> Any:
    """Return a deep copy whose tensors are detached clones."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(copied(item) for item in value)
    return copy.deepcopy(value)


def take_rng() -> dict[str, Any]:
    """Return the states of the random generators of Python, NumPy and torch."""
    numpy = np.random.get_state()  # noqa: NPY002, programs still draw from it
    rng = {"python": random.getstate(), "numpy": numpy, "torch": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        rng["cuda"] = torch.cuda.get_rng_state_all()
    return rng


def put_back_rng(rng: Mapping[str, Any]) -> None:
    """Set the random generators of Python, NumPy and torch."""
    random.setstate(rng["python"])
    np.random.set_state(rng["numpy"])  # noqa: NPY002
    torch.set_rng_state(rng["torch"])
    if "cuda" in rng:
        torch.cuda.set_rng_state_all(rng["cuda"])


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _tensors(model: nn.Module) -> Tensors:
    return {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}


def _into(present: Any, saved: Any) -> Any:
    """Return a copy of what was saved, in the memory of what is present where that has the same form."""
    if isinstance(saved, torch.Tensor):
        same = isinstance(present, torch.Tensor) and (present.shape, present.dtype, present.device) == (
            saved.shape,
            saved.dtype,
            saved.device,
        )
        return present.copy_(saved) if same else saved.detach().clone()
    if isinstance(saved, dict):
        inner = present if isinstance(present, dict) else {}
        return {key: _into(inner.get(key), value) for key, value in saved.items()}
    return copied(saved)
