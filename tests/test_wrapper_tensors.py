"""Tensors of a wrapper subclass, whose elements are in another tensor: guarded, clipped and profiled."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree

import steadystep
from cases import CLIPPERS, ClipperCase

GRADIENT_CLIPPERS = [case for case in CLIPPERS if not isinstance(case.make(), steadystep.ClipUpdate)]


class Wrapper(torch.Tensor):
    """A tensor without memory of its own, as those of torchao and of float8 training."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "Wrapper":
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)  # type: ignore[attr-defined]

    def __init__(self, inner: torch.Tensor) -> None:
        self.held = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        def unwrapped(x: Any) -> Any:
            return x.held if isinstance(x, Wrapper) else x

        out = func(*pytree.tree_map(unwrapped, args), **pytree.tree_map(unwrapped, kwargs or {}))
        if func.__name__.split(".")[0].endswith("_"):
            return args[0]
        return pytree.tree_map(lambda x: Wrapper(x) if isinstance(x, torch.Tensor) else x, out)


def made(wrap_parameter: bool, wrap_gradient: bool, seed: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return parameters with gradients, and the tensors that hold the gradients' elements."""
    generator = torch.Generator().manual_seed(seed)
    params, held = [], []
    for shape in ((4, 3), (3,)):
        inner = torch.randn(shape, generator=generator)
        param = torch.nn.Parameter(Wrapper(inner) if wrap_parameter else inner)
        gradient = torch.randn(shape, generator=generator)
        param.grad = Wrapper(gradient) if wrap_gradient else gradient
        params.append(param)
        held.append(gradient)
    return params, held


def elements(tensor: torch.Tensor) -> torch.Tensor:
    found = tensor.detach()
    return found.held if isinstance(found, Wrapper) else found


KINDS = [(True, True), (True, False), (False, True)]


@pytest.mark.parametrize(("parameter", "gradient"), KINDS)
@pytest.mark.parametrize("case", GRADIENT_CLIPPERS, ids=str)
def test_clip_gradients_clips_wrapped_tensors(case: ClipperCase, parameter: bool, gradient: bool) -> None:
    memories: list[dict[str, torch.Tensor]] = [{}, {}]
    for step in range(6):
        ours, held = made(parameter, gradient, step)
        theirs, expected = made(False, False, step)
        norms = [
            float(steadystep.clip_gradients(params, case.make(), memory))
            for params, memory in zip((ours, theirs), memories, strict=True)
        ]
        assert norms[0] == pytest.approx(norms[1])
        for a, b in zip(held, expected, strict=True):
            torch.testing.assert_close(a, b)


MAKERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, foreach=False),
    "Adam": lambda params: torch.optim.Adam(params, lr=0.1, foreach=False),
}


@pytest.mark.parametrize("undo", [False, True])
@pytest.mark.parametrize(("parameter", "gradient"), KINDS)
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("case", GRADIENT_CLIPPERS, ids=str)
def test_a_guard_steps_wrapped_tensors(
    case: ClipperCase, make: str, parameter: bool, gradient: bool, undo: bool
) -> None:
    results = []
    for wrapped in ((parameter, gradient), (False, False)):
        params, _ = made(*wrapped, seed=0)
        options: dict[str, Any] = {"undo": undo, "report_updates": undo, "preserve_grad": undo}
        optimizer: Any = steadystep.guard(MAKERS[make](params), clip=case.make(), **options)
        for step in range(5):
            if step:
                for param, other in zip(params, made(*wrapped, seed=step)[0], strict=True):
                    param.grad = other.grad
            optimizer.step()
        results.append((list(map(elements, params)), optimizer.ledger))
    (ours, ledger), (expected, expected_ledger) = results
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert ledger["norm_after"] == pytest.approx(expected_ledger["norm_after"])
    assert ledger["applied"] == 5 and ledger["nonfinite_updates"] == 0


@pytest.mark.parametrize("undo", [False, True])
def test_a_wrapped_parameter_that_becomes_infinite_is_told(undo: bool) -> None:
    params, _ = made(True, True, 0)
    before = [elements(param).clone() for param in params]
    optimizer: Any = steadystep.guard(
        torch.optim.SGD(params, lr=float("inf"), foreach=False), nonfinite="raise", undo=undo
    )
    with pytest.raises(steadystep.NonFiniteUpdateError, match=r"group 0, tensor 0, shape \(4, 3\)"):
        optimizer.step()
    assert all(torch.equal(elements(param), old) for param, old in zip(params, before, strict=True)) == undo


def test_norm_profile_measures_wrapped_parameters() -> None:
    model = torch.nn.Linear(3, 1, bias=False)
    batches = [torch.ones(1, 3), 2 * torch.ones(1, 3)]
    expected = steadystep.norm_profile(model, batches, lambda model, x: model(x).sum())
    model.weight = torch.nn.Parameter(Wrapper(model.weight.detach()))
    assert steadystep.norm_profile(model, batches, lambda model, x: model(x).sum()) == expected
