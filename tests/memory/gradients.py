"""Gradients of every layout and dtype, which a test gives to the parameters of several sides alike."""

from collections.abc import Callable

import torch

Gradient = Callable[[torch.Tensor, torch.Tensor], torch.Tensor | None]
"""From a parameter and a random tensor like it to its next gradient."""


def _transposed(param: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return value.t().contiguous().t() if value.dim() == 2 else value


def _with_gaps(param: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return torch.stack([value, value], -1)[..., 0]


def _expanded(param: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return torch.full((), 0.25, dtype=value.dtype).expand(value.shape)


def _in_place(param: torch.Tensor, value: torch.Tensor) -> torch.Tensor | None:
    """Return the gradient of the last step, with other elements."""
    last = param.grad
    if last is None or last.shape != param.shape or last.dtype != param.dtype:
        return value
    return value if 0 in last.stride() or last.data_ptr() == param.data_ptr() else last.copy_(value)


def _own_memory(param: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return param.detach()


PLAIN, OWN, UNCHANGED = "plain", "the parameter itself", "as it was"

GRADIENTS: dict[str, Gradient] = {
    PLAIN: lambda _, value: value,
    "none": lambda *_: None,
    "zero": lambda _, value: torch.zeros_like(value),
    "transposed": _transposed,
    "with gaps": _with_gaps,
    "expanded": _expanded,
    "written in place": _in_place,
    UNCHANGED: lambda param, _: param.grad,
    OWN: _own_memory,
}

OTHER_DTYPES: dict[str, Gradient] = {
    "float32": lambda _, value: value.float(),
    "float64": lambda _, value: value.double(),
    "bfloat16": lambda _, value: value.bfloat16(),
    "float16": lambda _, value: value.half(),
}
"""These need `Tensor.grad_dtype`."""

if hasattr(torch.Tensor, "grad_dtype"):
    GRADIENTS |= OTHER_DTYPES


def set_gradient(param: torch.Tensor, kind: str, seed: int, for_torch: bool = False) -> None:
    """Give a parameter a gradient.

    Args:
        param: the parameter.
        kind: a key of `GRADIENTS`.
        seed: of the random elements.
        for_torch: make the gradient one for torch's optimizers, some of which need the dtype of the parameter, and some
            of which write the parameter before they read the gradient.
    """
    if kind == UNCHANGED:  # it may no longer have the shape of the parameter, and could not be assigned
        return
    random = torch.randn(param.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gradient = GRADIENTS[kind](param, random.to(param.dtype))
    if for_torch and gradient is not None and (gradient.dtype != param.dtype or kind == OWN):
        gradient = gradient.to(param.dtype, copy=True)
    param.grad = gradient
