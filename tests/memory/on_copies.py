"""Operations that continue with a copy of the optimizer: a deep one, a pickle, or one that loads its state."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import torch

from memory.operations import NothingToDo, Operation
from memory.sides import Side, accept_any_gradient, peer_of


def _copied(side: Side, how: Callable[[Any], Any]) -> None:
    for param in side.params:
        param.grad = None  # a deep copy of a parameter has a gradient, and a pickle has not
    side.params, side.optimizer = how((side.params, side.optimizer))
    for param in side.params:
        accept_any_gradient(param)


def deep_copy(side: Side, which: int, seed: int) -> None:
    """Continue with a deep copy of the optimizer and its parameters."""
    _copied(side, copy.deepcopy)


def pickled(side: Side, which: int, seed: int) -> None:
    """Continue with what a pickle of the optimizer and its parameters holds."""
    _copied(side, lambda both: pickle.loads(pickle.dumps(both)))


def _state_of(side: Side) -> dict[str, Any]:
    """Return the state_dict of a side, if torch has one and can make another optimizer like this one."""
    if side.setting.named and not all(group["params"] for group in side.optimizer.param_groups):
        raise NothingToDo("an empty group has no names")
    if not all(side.will_step(param) for param in side.optimizer.state):
        raise NothingToDo("a parameter with state is in no group")
    return side.optimizer.state_dict()


def _saved(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file)


def _resume(side: Side, state: dict[str, Any]) -> None:
    optimizer = side.make([group["params"] for group in side.optimizer.param_groups])
    optimizer.load_state_dict(state)
    side.optimizer = optimizer


def checkpoint(side: Side, which: int, seed: int) -> None:
    """Continue with a new optimizer that has loaded the state of this one, saved or not."""
    state = _state_of(side)
    _resume(side, _saved(state) if seed % 2 else state)


def own_checkpoint(side: Side, which: int, seed: int) -> None:
    """Load the optimizer's own state."""
    side.optimizer.load_state_dict(copy.deepcopy(_state_of(side)))


def checkpoint_through_torch(side: Side, which: int, seed: int) -> None:
    """Load the state into torch's optimizer, and the state of that into a new one."""
    setting = side.setting
    if side.kind == "torch" or setting.case.peer is None or setting.dtype.itemsize == 2:
        return checkpoint(side, which, seed)
    state = _state_of(side)
    other = peer_of(setting.case, _groups(side))
    other.load_state_dict(state)
    return _resume(side, other.state_dict())


def _groups(side: Side) -> list[dict[str, Any]]:
    return [{"params": side.with_names(group["params"])} for group in side.optimizer.param_groups]


def checkpoint_in_another_order(side: Side, which: int, seed: int) -> None:
    """Continue with an optimizer whose parameters come in another order than in the state that it loads."""
    state = _state_of(side)
    groups = [list(reversed(group["params"])) for group in side.optimizer.param_groups]
    side.optimizer = side.make(groups)
    side.optimizer.load_state_dict(state)


ON_COPIES = (
    Operation(deep_copy),
    Operation(pickled),
    Operation(checkpoint),
    Operation(own_checkpoint),
    Operation(checkpoint_through_torch),
    Operation(checkpoint_in_another_order, doubtful=True),
)
