"""What users do to an optimizer's tensors between steps, so that a tensor is shorter than it was."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from memory.guarded_pages import Pages


@dataclass(frozen=True)
class Change:
    """One change to the tensors of an optimizer whose parameters have more than one element.

    Attributes:
        name: what it changes.
        make: makes the change.
        illegal: whether the next step has to be refused; others may be.
        keeps_gradients: whether the next step sees the gradients of the last one.
    """

    name: str
    make: Callable[[Pages, torch.optim.Optimizer, list[torch.Tensor]], None]
    illegal: bool = False
    keeps_gradients: bool = False


def _victims(params: list[torch.Tensor]) -> list[torch.Tensor]:
    return [params[1], params[-1]]  # one of a single block, and one of several


def _state(of: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., None]:
    """Return a change of every tensor of the state that is not a counter."""

    def make(pages: Pages, optimizer: torch.optim.Optimizer, params: list[torch.Tensor]) -> None:
        for param in _victims(params):
            for name, value in optimizer.state[param].items():
                if isinstance(value, torch.Tensor) and value.dim():
                    optimizer.state[param][name] = pages.hold(of(value))

    return make


def _counter(of: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., None]:
    """Return a change of every counter of the state."""

    def make(pages: Pages, optimizer: torch.optim.Optimizer, params: list[torch.Tensor]) -> None:
        for param in params:
            for name, value in optimizer.state[param].items():
                if isinstance(value, torch.Tensor) and not value.dim():
                    optimizer.state[param][name] = pages.hold(of(value))

    return make


def _data(of: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., None]:
    """Return a change of the memory of parameters."""

    def make(pages: Pages, _: torch.optim.Optimizer, params: list[torch.Tensor]) -> None:
        for param in _victims(params):
            param.data = pages.hold(of(param.data))

    return make


def _gradient(of: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., None]:
    """Return a change of the memory of gradients."""

    def make(pages: Pages, _: torch.optim.Optimizer, params: list[torch.Tensor]) -> None:
        for param in _victims(params):
            assert param.grad is not None
            param.grad.data = pages.hold(of(param.grad.data))

    return make


def _group(of: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., None]:
    """Return a change of the tensors that are kept in parameter groups, such as the ledger."""

    def make(pages: Pages, optimizer: torch.optim.Optimizer, _: list[torch.Tensor]) -> None:
        for group in optimizer.param_groups:
            for name, value in group.items():
                if isinstance(value, torch.Tensor):
                    group[name] = pages.hold(of(value))

    return make


def _rate(dtype: torch.dtype) -> Callable[..., None]:
    """Return a change of the learning rate to a tensor."""

    def make(pages: Pages, optimizer: torch.optim.Optimizer, _: list[torch.Tensor]) -> None:
        optimizer.param_groups[0]["lr"] = pages.hold(torch.tensor(0.01, dtype=dtype))

    return make


def _half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten()[: max(1, tensor.numel() // 2)]


def _narrow(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.bfloat16)


def _twice(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([tensor, tensor])


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


CHANGES = (
    Change("state moved", _state(_same)),
    Change("state of half the size", _state(_half), illegal=True),
    Change("state of one element", _state(lambda value: value.flatten()[:1])),
    Change("state in bfloat16", _state(_narrow)),
    Change("counters in bfloat16", _counter(_narrow)),
    Change("counters in float64", _counter(torch.Tensor.double)),
    Change("counters of one dimension", _counter(lambda value: value.reshape(1))),
    Change("parameters moved", _data(_same)),
    Change("parameters of half the size", _data(_half), illegal=True),
    Change("parameters of half the size after their gradients", _data(_half), illegal=True, keeps_gradients=True),
    Change("parameters of twice the size", _data(_twice), illegal=True),
    Change("parameters of twice the size after their gradients", _data(_twice), illegal=True, keeps_gradients=True),
    Change("parameters in bfloat16", _data(_narrow)),
    Change("parameters in float64", _data(torch.Tensor.double)),
    Change("gradients of half the size", _gradient(_half), illegal=True, keeps_gradients=True),
    Change("gradients in bfloat16", _gradient(_narrow), keeps_gradients=True),
    Change("gradients in float64", _gradient(torch.Tensor.double), keeps_gradients=True),
    Change("ledger of half the size", _group(_half)),
    Change("ledger in bfloat16", _group(_narrow)),
    Change("learning rate in float32", _rate(torch.float32)),
    Change("learning rate in bfloat16", _rate(torch.bfloat16)),
)
"""State of one element is broadcast by eager code, and so are gradients: these may be refused or not."""
