"""Operations on the memory of parameters."""

import torch

from memory.operations import NothingToDo, Operation
from memory.sides import Side


def _param(side: Side, which: int) -> torch.Tensor:
    return side.params[which % len(side.params)]


def _pair(side: Side, which: int) -> tuple[torch.Tensor, torch.Tensor]:
    count = len(side.params)
    return side.params[which % count], side.params[(which + 1) % count]


def clone(side: Side, which: int, seed: int) -> None:
    """Move a parameter to new memory."""
    _param(side, which).data = _param(side, which).data.clone()


def view_of_a_buffer(side: Side, which: int, seed: int) -> None:
    """Move a parameter into a larger buffer, at an odd position."""
    data = _param(side, which).data
    buffer = torch.zeros(data.numel() + 7, dtype=data.dtype)
    buffer[3 : 3 + data.numel()] = data.flatten()
    _param(side, which).data = buffer[3 : 3 + data.numel()].view(data.shape)


def every_second_element(side: Side, which: int, seed: int) -> None:
    """Move a parameter into memory with gaps."""
    data = _param(side, which).data
    _param(side, which).data = torch.stack([data, data], -1)[..., 0]


def transposed_memory(side: Side, which: int, seed: int) -> None:
    """Store a parameter in the other order of its dimensions."""
    data = _param(side, which).data
    _param(side, which).data = data.t().contiguous().t() if data.dim() == 2 else data.clone()


def contiguous(side: Side, which: int, seed: int) -> None:
    """Store a parameter in the usual order of its dimensions."""
    _param(side, which).data = _param(side, which).data.contiguous()


def transposed(side: Side, which: int, seed: int) -> None:
    """Turn a matrix into its transpose, at the same address; its state stays as it is."""
    data = _param(side, which).data
    _param(side, which).data = data.t() if data.dim() == 2 else data


def sliced(side: Side, which: int, seed: int) -> None:
    """Keep only some rows of a parameter."""
    data = _param(side, which).data
    if data.dim() and len(data) > 1:
        _param(side, which).data = data[: 1 + seed % (len(data) - 1)]


def grown(side: Side, which: int, seed: int) -> None:
    """Append rows to a parameter."""
    data = _param(side, which).data
    _param(side, which).data = torch.cat([data, data[:1]]) if data.dim() else data


def reshaped(side: Side, which: int, seed: int) -> None:
    """Keep the elements of a parameter in another shape."""
    _param(side, which).data = _param(side, which).data.reshape(1, -1)


def other_dtype(side: Side, which: int, seed: int) -> None:
    """Convert a parameter to another dtype."""
    data = _param(side, which).data
    dtypes = [one for one in (torch.float64, torch.float32, torch.bfloat16, torch.float16) if one != data.dtype]
    _param(side, which).data = data.to(dtypes[seed % 3])


def other_half_at_the_same_address(side: Side, which: int, seed: int) -> None:
    """Read the bits of a parameter in half precision as the other half precision, after setting them to 0."""
    data = _param(side, which).data
    if data.itemsize == 2:
        other = torch.float16 if data.dtype == torch.bfloat16 else torch.bfloat16
        _param(side, which).data = data.zero_().view(other)


def storage_grown(side: Side, which: int, seed: int) -> None:
    """Give a parameter's storage more bytes, which can move it."""
    storage = _param(side, which).data.untyped_storage()
    storage.resize_(2 * storage.nbytes() + 4096)


def storage_freed(side: Side, which: int, seed: int) -> None:
    """Free the storage of a parameter that will step, as FSDP does."""
    if not side.will_step(_param(side, which)):
        raise NothingToDo("this would do nothing")
    _param(side, which).data.untyped_storage().resize_(0)


def expanded(side: Side, which: int, seed: int) -> None:
    """Store all elements of a parameter in one."""
    data = _param(side, which).data
    _param(side, which).data = data.flatten()[:1].reshape(()).expand(data.shape)


def shared(side: Side, which: int, seed: int) -> None:
    """Let a parameter begin where the next one does, as far as it reaches."""
    one, other = _pair(side, which)
    if one.numel() <= other.numel() and one.dtype == other.dtype and other.is_contiguous():
        one.data = other.data.view(-1)[: one.numel()].view(one.shape)


def partly_shared(side: Side, which: int, seed: int) -> None:
    """Let two parameters share some of their elements."""
    one, other = _pair(side, which)
    if one.dtype == other.dtype:
        start = max(1, one.numel() // 2)
        buffer = torch.linspace(-1, 1, start + one.numel() + other.numel(), dtype=one.dtype)
        one.data = buffer[: one.numel()].view(one.shape)
        other.data = buffer[start : start + other.numel()].view(other.shape)


def edited(side: Side, which: int, seed: int) -> None:
    """Write other elements into a parameter."""
    if 0 in _param(side, which).stride():
        raise NothingToDo("torch refuses to write an element several times")
    _param(side, which).data.mul_(0.5)


ON_PARAMETERS = (
    Operation(clone),
    Operation(view_of_a_buffer),
    Operation(every_second_element),
    Operation(transposed_memory),
    Operation(contiguous),
    Operation(transposed, doubtful=True),
    # Some operations of torch broadcast state, or the last gradient, to the parameter's new shape.
    Operation(sliced, doubtful=True, only_torch_steps=True),
    Operation(grown, doubtful=True, only_torch_steps=True),
    Operation(reshaped, doubtful=True, only_torch_steps=True),
    # torch keeps state in the dtype of the parameter.
    Operation(other_dtype, no_torch=True),
    Operation(other_half_at_the_same_address),
    Operation(storage_grown),
    Operation(storage_freed, refused=True, at_once=True, no_torch=True),
    Operation(expanded, doubtful=True),
    Operation(shared, shares=True),
    Operation(partly_shared, shares=True),
    Operation(edited),
)
