"""Operations on the memory of gradients, after which a step sees the gradients as they are."""

import torch

from memory.operations import NothingToDo, Operation
from memory.sides import Side


def _gradient(side: Side, which: int) -> torch.Tensor:
    """Return the gradient of a parameter that will step."""
    param = side.params[which % len(side.params)]
    if param.grad is None or not side.will_step(param):
        raise NothingToDo("there is no gradient to change")
    return param.grad


def gradient_moved(side: Side, which: int, seed: int) -> None:
    """Move a gradient."""
    gradient = _gradient(side, which)
    gradient.data = gradient.data.clone()


def gradient_shortened(side: Side, which: int, seed: int) -> None:
    """Keep half of a gradient."""
    gradient = _gradient(side, which)
    gradient.data = gradient.data.flatten()[: (gradient.numel() + 1) // 2].clone()


def gradient_transposed(side: Side, which: int, seed: int) -> None:
    """Turn a gradient into its transpose, at the same address."""
    gradient = _gradient(side, which)
    gradient.data = gradient.data.t() if gradient.dim() == 2 else gradient.data


def gradient_of_other_dtype(side: Side, which: int, seed: int) -> None:
    """Convert a gradient to another dtype."""
    gradient = _gradient(side, which)
    gradient.data = gradient.data.to((torch.bfloat16, torch.float64, torch.float32)[seed % 3])


def gradient_freed(side: Side, which: int, seed: int) -> None:
    """Free the storage of a gradient."""
    gradient = _gradient(side, which)
    if gradient.data_ptr() == side.params[which % len(side.params)].data_ptr():
        raise NothingToDo("the parameter has the same storage")
    gradient.untyped_storage().resize_(0)


def gradient_shared(side: Side, which: int, seed: int) -> None:
    """Give a parameter a part of the next one's gradient."""
    param, other = side.params[which % len(side.params)], _gradient(side, which + 1)
    if other.numel() < param.numel():
        raise NothingToDo("the other gradient is too short")
    param.grad = other.flatten()[: param.numel()].view(param.shape)


ON_GRADIENTS = (
    Operation(gradient_moved, keeps_gradients=True),
    # torch broadcasts a gradient of one element.
    Operation(gradient_shortened, doubtful=True, keeps_gradients=True, only_torch_steps=True),
    Operation(gradient_transposed, doubtful=True, keeps_gradients=True),
    # torch computes in the precision of the gradient, where it does not refuse it.
    Operation(gradient_of_other_dtype, keeps_gradients=True, no_torch=True),
    Operation(gradient_freed, refused=True, keeps_gradients=True, no_torch=True),
    Operation(gradient_shared, keeps_gradients=True),
)
