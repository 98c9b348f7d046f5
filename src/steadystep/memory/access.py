"""Whether a kernel may touch the memory of a tensor. This is the only place that decides it."""

from typing import Any

import torch

from steadystep.memory.layout import extent, is_expanded

_DISPATCH = "__torch_dispatch__"  # by name, because torch's stubs do not have it
_PLAIN: Any = getattr(torch.Tensor, _DISPATCH)


def owns_memory(tensor: torch.Tensor) -> bool:
    """Return whether the elements of a tensor lie in its own storage.

    Those of a wrapper subclass lie in other tensors, and those of fake and meta tensors nowhere.
    """
    return getattr(type(tensor), _DISPATCH) is _PLAIN and tensor.device.type != "meta"


def why_untouchable(tensor: torch.Tensor) -> str:
    """Return why a kernel may not touch the memory of a tensor, or "" if it may."""
    if not owns_memory(tensor):
        return f"of type {type(tensor).__name__} on {tensor.device}, whose elements are not in its own memory"
    if tensor.layout != torch.strided:
        return f"of layout {tensor.layout}"
    if tensor.is_neg() or tensor.is_conj():
        return "that is negated or conjugated when it is read"
    return ""


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a small result of operations on tensors without memory of their own as an ordinary tensor."""
    if owns_memory(tensor):
        return tensor
    flat = [element.item() for element in tensor.reshape(-1).unbind()]
    return torch.tensor(flat, dtype=tensor.dtype, device=tensor.device).reshape(tensor.shape)


def check_storage(tensor: torch.Tensor, name: str) -> None:
    """Raise an error if a tensor reaches beyond its storage, as it can after a storage has been resized.

    Raises:
        ValueError: naming the tensor, by `name`, and both sizes.
    """
    if tensor.numel() == 0 or tensor.layout != torch.strided or not owns_memory(tensor):
        return
    needed = (tensor.storage_offset() + extent(tensor)) * tensor.element_size()
    held = tensor.untyped_storage().nbytes()
    if needed > held:
        raise ValueError(
            f"{name} reaches to byte {needed} of a storage of {held} bytes: give it its memory back before the step"
        )


def refuse_conjugated(tensor: torch.Tensor, name: str) -> None:
    """Raise an error if a tensor is conjugated when it is read, so that its real numbers cannot be written.

    Raises:
        ValueError: naming the tensor.
    """
    if tensor.is_conj():
        raise ValueError(
            f"{name} is a conjugated view, whose elements cannot be written: replace it by its resolve_conj() before "
            "the step"
        )


def check_writable(tensor: torch.Tensor, name: str) -> None:
    """Raise an error if a tensor cannot be written element by element.

    Raises:
        ValueError: if it reaches beyond its storage, or if some of its elements are one and the same in memory, as they
            are after `expand`; naming the tensor.
    """
    check_storage(tensor, name)
    if is_expanded(tensor):
        raise ValueError(f"some elements of {name} are one in memory (it was expanded): clone it before the step")
