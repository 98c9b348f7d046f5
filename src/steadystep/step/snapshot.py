"""A copy of an optimizer's parameters and of its whole state, from which a step can be taken back exactly."""

from collections import deque
from collections.abc import Callable, MutableMapping, MutableSet
from functools import partial
from typing import Any

import numpy as np
import torch

from steadystep.memory.layout import is_expanded


class Snapshot:
    """The parameters, the state, the options and the counters of an optimizer, and of the optimizers inside it.

    All that can be changed in place is put back in place: tensors at their addresses, dicts and lists as the same
    objects. Tensors and entries that are new since the snapshot are dropped.

    Args:
        optimizer: the optimizer.
        leave_out: attributes that are not part of its state.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, leave_out: frozenset[str] = frozenset()) -> None:
        self._leave_out = leave_out
        self._steps_back: list[Callable[[], Any]] = []
        self._known: dict[int, Any] = {}  # what is saved, by its id; holding it keeps the ids from being used again
        self._copies: dict[int, torch.Tensor] = {}
        self._save_optimizer(optimizer)

    def copy_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the copy of one of the tensors."""
        return self._copies[id(tensor)]

    @torch.no_grad()
    def put_back(self) -> None:
        """Undo all that has changed since the snapshot."""
        for step_back in self._steps_back:
            step_back()

    def _save_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        # Hooks are no state: one that removes itself must not come back.
        left_out = {name for name in vars(optimizer) if name in self._leave_out or name.startswith("_optimizer_")}
        attributes = {name: value for name, value in vars(optimizer).items() if name not in left_out}
        self._known[id(optimizer)] = optimizer
        self._steps_back.append(partial(_replace_attributes, vars(optimizer), attributes, left_out | self._leave_out))
        for name, value in attributes.items():
            self._save(value, objects=name == "state")

    def _save(self, value: Any, objects: bool = False) -> None:
        """Save a value and what it contains; objects of other classes only in the state, as they can lead anywhere."""
        if isinstance(value, int | float | str | None) or id(value) in self._known:
            return
        self._known[id(value)] = value
        if isinstance(value, torch.Tensor):
            self._save_tensor(value)
        elif isinstance(value, torch.optim.Optimizer):
            self._save_optimizer(value)
        elif isinstance(value, MutableMapping):
            self._steps_back.append(partial(_replace_entries, value, dict(value)))
            for key, entry in list(value.items()):
                self._save(key, objects)
                self._save(entry, objects)
        elif isinstance(value, list | deque | MutableSet):
            entries = list(value)
            self._steps_back.append(partial(_replace_items, value, entries))
            for entry in entries:
                self._save(entry, objects)
        elif isinstance(value, tuple):
            for entry in value:
                self._save(entry, objects)
        elif isinstance(value, np.ndarray):
            self._steps_back.append(partial(np.copyto, value, value.copy()))
        elif isinstance(value, torch.Generator):
            self._steps_back.append(partial(value.set_state, value.get_state()))
        elif objects and hasattr(value, "__dict__") and not callable(value):
            self._save(vars(value), objects)

    def _save_tensor(self, tensor: torch.Tensor) -> None:
        before = tensor.detach()
        self._copies[id(tensor)] = before.clone()
        self._steps_back.append(partial(_replace_elements, tensor, before, self._copies[id(tensor)]))


def _replace_elements(tensor: torch.Tensor, before: torch.Tensor, copy: torch.Tensor) -> None:
    if _place(tensor) != _place(before):  # its .data was replaced, or it was resized
        tensor.data = before
    if not is_expanded(before):  # such a tensor cannot be written
        before.copy_(copy)


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    try:
        address = tensor.data_ptr()
    except RuntimeError:  # a wrapper without memory of its own
        address = 0
    return address, tensor.dtype, tuple(tensor.shape), _strides(tensor)


def _strides(tensor: torch.Tensor) -> tuple[int, ...]:
    return tensor.stride() if tensor.layout == torch.strided else (1,) * tensor.dim()


def _replace_entries(mapping: MutableMapping[Any, Any], entries: dict[Any, Any]) -> None:
    mapping.clear()
    mapping.update(entries)


def _replace_items(items: Any, entries: list[Any]) -> None:
    items.clear()
    for entry in entries:
        items.add(entry) if isinstance(items, MutableSet) else items.append(entry)


def _replace_attributes(attributes: dict[str, Any], saved: dict[str, Any], left_out: set[str]) -> None:
    for name in attributes.keys() - saved.keys() - left_out:
        del attributes[name]
    attributes.update(saved)
