"""Tensors that share a name, and gradients that are given twice."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import steadystep
from cases import CLIPPERS, OPTIMIZERS, ClipperCase, OptimizerCase

GRADIENT_CLIPPERS = [case for case in CLIPPERS if not isinstance(case.make(), steadystep.ClipUpdate)]


def tensors(number: int) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(2, 3, generator=generator)) for _ in range(number)]
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator)
    return params


def groups(params: list[torch.nn.Parameter]) -> list[dict[str, Any]]:
    """Return two groups with a name in common, as two modules have, and one name of their own."""
    return [
        {"params": [("weight", params[0]), ("first", params[1])]},
        {"params": [("weight", params[2]), ("second", params[3])]},
    ]


NAMES = ["group 0: weight", "first", "group 1: weight", "second"]


@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_no_tensor_is_lost_from_the_norms(case: OptimizerCase) -> None:
    params = tensors(4)
    optimizer = case.make(groups(params), clip=1e6)
    for _ in range(3):
        optimizer.step()
    assert list(optimizer.ledger["norms"]) == NAMES
    norms = [float(param.grad.norm()) for param in params if param.grad is not None]
    assert list(optimizer.ledger["norms"].values()) == pytest.approx(norms)
    assert list(optimizer.ledger["update_norms"]) in (NAMES, [])


def test_the_guard_and_its_errors_use_the_same_names() -> None:
    params = tensors(4)
    optimizer: Any = steadystep.guard(
        torch.optim.SGD(groups(params), lr=0.1, momentum=0.9), nonfinite="raise", report_updates=True
    )
    optimizer.step()
    assert list(optimizer.ledger["norms"]) == list(optimizer.ledger["update_norms"]) == NAMES
    params[2].grad[0] = math.nan  # type: ignore[index]
    with pytest.raises(steadystep.NonFiniteGradientError, match="in group 1: weight;"):
        optimizer.step()
    params[2].grad[0] = 0.0  # type: ignore[index]
    optimizer.param_groups[1]["lr"] = math.inf
    with pytest.raises(steadystep.NonFiniteUpdateError, match="group 1: weight, second"):
        optimizer.step()


def test_a_name_that_occurs_twice_in_one_group_is_qualified_by_its_place() -> None:
    params = tensors(3)
    for make in (steadystep.Adam, lambda params: steadystep.guard(torch.optim.Adam(params))):
        optimizer: Any = make([("weight", params[0]), ("weight", params[1]), ("bias", params[2])])
        optimizer.step()
        assert list(optimizer.ledger["norms"]) == ["group 0, tensor 0: weight", "group 0, tensor 1: weight", "bias"]


def test_names_stay_the_same_when_a_tensor_has_no_gradient() -> None:
    params = tensors(4)
    optimizer = steadystep.Adam(groups(params), clip=1.0)
    params[0].grad = None
    optimizer.step()
    assert list(optimizer.ledger["norms"]) == NAMES[1:]


@pytest.mark.parametrize(
    ("exclude", "untouched"),
    [("weight", (0, 2)), ("group 0: weight", (0,)), ("group 1: weight", (2,)), ("first", (1,))],
)
def test_agc_excludes_by_either_name(exclude: str, untouched: tuple[int, ...]) -> None:
    params = tensors(4)
    before = [param.grad.clone() for param in params if param.grad is not None]
    optimizer = steadystep.guard(torch.optim.SGD(groups(params), lr=0.1), clip=steadystep.AGC(1e-3, exclude=[exclude]))
    optimizer.step()
    unchanged = [torch.equal(param.grad, old) for param, old in zip(params, before, strict=True)]  # type: ignore[arg-type]
    assert unchanged == [number in untouched for number in range(4)]


def test_a_group_that_has_grown_has_names_for_the_tensors_that_it_knows() -> None:
    params = tensors(3)
    for make in (steadystep.Adam, lambda params: steadystep.guard(torch.optim.SGD(params, lr=0.1))):
        optimizer: Any = make([("weight", params[0]), ("bias", params[1])])
        optimizer.param_groups[0]["params"].append(params[2])
        optimizer.step()
        assert list(optimizer.ledger["norms"]) == ["weight", "bias", "group 0, tensor 2, shape (2, 3)"]


def share(params: list[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
    params[1].grad = params[0].grad
    return params


def alias(params: list[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
    params[1].grad = params[0].grad.detach()  # type: ignore[union-attr]
    return params


REPEATS: dict[str, Callable[[list[torch.nn.Parameter]], Any]] = {
    "list": lambda params: [params[0], *params],
    "at the end": lambda params: [*params, params[2], params[0]],
    "generator": lambda params: (param for _ in range(2) for param in params),
}


def clipped(case: ClipperCase, given: Callable[[list[torch.nn.Parameter]], Any], number: int = 3) -> tuple[Any, Any]:
    params, memory = tensors(number), {}
    norms = []
    for step in range(8):
        for index, param in enumerate(params):
            generator = torch.Generator().manual_seed(10 * step + index)
            param.grad = torch.randn(param.shape, generator=generator) * (5 if step == 7 else 1)
        norms.append(float(steadystep.clip_gradients(given(params), case.make(), memory)))
    return norms, [param.grad for param in params]


@pytest.mark.parametrize("repeat", REPEATS)
@pytest.mark.parametrize("case", GRADIENT_CLIPPERS, ids=str)
def test_a_tensor_given_twice_counts_once(case: ClipperCase, repeat: str) -> None:
    norms, gradients = clipped(case, REPEATS[repeat])
    expected_norms, expected = clipped(case, lambda params: params)
    assert norms == expected_norms
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))


@pytest.mark.parametrize("how", [share, alias])
@pytest.mark.parametrize("case", GRADIENT_CLIPPERS, ids=str)
def test_a_gradient_that_two_parameters_share_counts_once(case: ClipperCase, how: Any) -> None:
    norms, gradients = clipped(case, how)
    expected_norms, expected = clipped(case, lambda params: [params[0], params[2]])
    assert norms == pytest.approx(expected_norms)
    for ours, theirs in ((gradients[0], expected[0]), (gradients[1], expected[0]), (gradients[2], expected[2])):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("how", [share, alias])
def test_a_guard_scales_a_shared_gradient_once(how: Any) -> None:
    params = how(tensors(2))
    gradient = copy.deepcopy(params[0].grad)
    steadystep.guard(torch.optim.SGD(params, lr=0.1), clip=1e-2).step()
    torch.testing.assert_close(params[0].grad, gradient * 1e-2 / gradient.norm())
    assert torch.equal(params[0].grad, params[1].grad)


@pytest.mark.parametrize("case", GRADIENT_CLIPPERS, ids=str)
def test_a_gradient_that_is_negated_when_it_is_read_is_clipped_in_place(case: ClipperCase) -> None:
    def given(params: list[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
        gradient = params[0].grad
        assert gradient is not None
        params[0].grad = torch._neg_view(-gradient)  # type: ignore[reportPrivateImportUsage]
        return params

    norms, gradients = clipped(case, given)
    expected_norms, expected = clipped(case, lambda params: params)
    assert norms == pytest.approx(expected_norms)
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))
