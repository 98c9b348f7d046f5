"""Operations on the state of parameters."""

from collections.abc import Callable
from typing import Any

import torch

from memory.operations import NothingToDo, Operation
from memory.sides import Side


def _state(side: Side, which: int) -> dict[str, Any]:
    return side.optimizer.state[side.params[which]]


def _replace(side: Side, which: int, seed: int, by: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Replace one tensor of the size of its parameter; the same on all sides."""
    entry = _state(side, which)
    names = sorted(name for name, value in entry.items() if isinstance(value, torch.Tensor) and value.dim())
    if names:
        name = names[seed % len(names)]
        entry[name] = by(entry[name])


def slot_cloned(side: Side, which: int, seed: int) -> None:
    """Move one tensor of the state."""
    _replace(side, which, seed, torch.clone)


def slot_transposed(side: Side, which: int, seed: int) -> None:
    """Store one tensor of the state in the other order of its dimensions."""
    _replace(side, which, seed, lambda value: value.t().contiguous().t() if value.dim() == 2 else value.clone())


def slot_shortened(side: Side, which: int, seed: int) -> None:
    """Replace one tensor of the state by one with fewer elements."""
    _replace(side, which, seed, lambda value: value.flatten()[: max(1, value.numel() // 2)].clone())


def slot_of_one_element(side: Side, which: int, seed: int) -> None:
    """Replace one tensor of the state by a single element."""
    _replace(side, which, seed, lambda value: value.flatten()[:1].clone())


def slot_reshaped(side: Side, which: int, seed: int) -> None:
    """Replace one tensor of the state by one with the same elements in another shape."""
    _replace(side, which, seed, lambda value: value.reshape(-1, 1))


def slot_of_other_dtype(side: Side, which: int, seed: int) -> None:
    """Convert one tensor of the state to another precision."""
    dtypes = (torch.float64, torch.float32, torch.bfloat16)
    _replace(side, which, seed, lambda value: value.to(dtypes[seed % 3]))


def slot_of_integers(side: Side, which: int, seed: int) -> None:
    """Convert one tensor of the state to integers."""
    _replace(side, which, seed, lambda value: value.int())


def slot_expanded(side: Side, which: int, seed: int) -> None:
    """Store all elements of one tensor of the state in one."""
    _replace(side, which, seed, lambda value: torch.zeros((), dtype=value.dtype).expand(value.shape))


def slot_freed(side: Side, which: int, seed: int) -> None:
    """Free the storage of one tensor of the state of a parameter that will step."""
    param = side.params[which]
    slots = sorted(name for name, value in side.optimizer.state[param].items() if value.dim())
    if not slots or not side.will_step(param):
        raise NothingToDo("there is nothing to free")
    side.optimizer.state[param][slots[seed % len(slots)]].untyped_storage().resize_(0)


def slot_shared(side: Side, which: int, seed: int) -> None:
    """Let one tensor of the state lie in that of another parameter."""
    other = side.optimizer.state.get(side.params[(which + 1) % len(side.params)], {})
    slots = [value for _, value in sorted(other.items()) if isinstance(value, torch.Tensor) and value.dim()]
    if not slots:
        raise NothingToDo("the other has no state")

    def part(value: torch.Tensor) -> torch.Tensor:
        source = slots[seed % len(slots)]
        fits = source.is_contiguous() and source.numel() >= value.numel()
        return source.view(-1)[: value.numel()].view(value.shape) if fits else value

    _replace(side, which, seed, part)


def momentum_in_the_parameter(side: Side, which: int, seed: int) -> None:
    """Let the momentum of a parameter be the parameter itself."""
    entry = _state(side, which)
    for name in entry.keys() & {"exp_avg", "momentum_buffer"}:
        entry[name] = side.params[which].data


def zeroed(side: Side, which: int, seed: int) -> None:
    """Zero all state of one parameter in place, with its step count."""
    # Dampening starts with the second step, and torch's SGD does not count steps.
    spared = "step" if side.setting.case.options.get("dampening") else None
    for name, value in _state(side, which).items():
        if isinstance(value, torch.Tensor) and name != spared:
            value.zero_()


def moments_zeroed(side: Side, which: int, seed: int) -> None:
    """Zero the state of one parameter in place, but for its counters."""
    for value in _state(side, which).values():
        if isinstance(value, torch.Tensor) and value.dim():
            value.zero_()


def counter_replaced(side: Side, which: int, seed: int) -> None:
    """Give one parameter another step count, in a tensor of its own."""
    entry = _state(side, which)
    if isinstance(entry.get("step"), torch.Tensor):
        entry["step"] = torch.tensor(float(3 + seed % 5))


def counter_edited(side: Side, which: int, seed: int) -> None:
    """Add to the step count of one parameter in place."""
    entry = _state(side, which)
    if isinstance(entry.get("step"), torch.Tensor):
        entry["step"] += 2


def popped(side: Side, which: int, seed: int) -> None:
    """Discard the state of one parameter."""
    del side.optimizer.state[side.params[which]]


def cleared(side: Side, which: int, seed: int) -> None:
    """Discard all state."""
    side.optimizer.state.clear()


def exchanged(side: Side, which: int, seed: int) -> None:
    """Exchange the state of two parameters, but not in Adagrad, for which torch makes some before the first step."""
    state, one, other = side.optimizer.state, side.params[which], side.params[seed % len(side.params)]
    if other in state and side.setting.case.name != "Adagrad":
        state[one], state[other] = state[other], state[one]


ON_STATE = (
    Operation(slot_cloned),
    Operation(slot_transposed),
    Operation(slot_shortened, doubtful=True),
    # torch broadcasts state that it only reads.
    Operation(slot_of_one_element, doubtful=True, only_torch_steps=True),
    Operation(slot_reshaped, doubtful=True, only_torch_steps=True),
    # torch computes in the precision of the state, where it does not refuse it.
    Operation(slot_of_other_dtype, no_torch=True),
    # torch converts them when it loads a checkpoint.
    Operation(slot_of_integers, doubtful=True, only_torch_steps=True),
    # Loading a checkpoint here copies the elements, and torch keeps them as they are.
    Operation(slot_expanded, doubtful=True, only_torch_refuses=True),
    Operation(slot_freed, refused=True, at_once=True, no_torch=True),
    # The order in which parameters and state are written then matters, and torch has another one.
    Operation(slot_shared, no_torch=True),
    Operation(momentum_in_the_parameter, doubtful=True, no_torch=True),
    Operation(zeroed),
    Operation(moments_zeroed),
    Operation(counter_replaced),
    Operation(counter_edited),
    # torch's Adagrad makes its state when it is constructed, and does not make it again.
    Operation(popped, only_torch_refuses=True),
    Operation(cleared, only_torch_refuses=True),
    Operation(exchanged, doubtful=True),
)
