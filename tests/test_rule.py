"""Rules: creating one that is not elementwise raises an error that says what to do instead."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import steadystep
from steadystep.rule import Rule
from steadystep.tracing.ops import norm, sqrt


def half(x):
    return 0.5 * x


def normalised(g, p, *, lr):
    return (p - lr * g / norm(g),)


def with_a_method(g, p, *, lr):
    return (p - lr * g.sum(),)


def orthogonal(g, p, *, lr):
    return (p - lr * (g @ g),)


def with_an_index(g, p, *, lr):
    return (p - lr * g[0],)


def with_a_branch(g, p, *, lr):
    return (p - lr * g if lr > 0 else p,)


def with_torch(g, p, *, lr):
    return (p - lr * torch.sign(g),)


def with_a_hidden_norm(g, p, *, lr):
    return (p - lr * normalised(g, p, lr=lr)[0],)


def scalars(t, lr):
    return (lr,)


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (normalised, "`norm`"),
        (with_a_method, r"\.sum"),
        (orthogonal, "the operator @"),
        (with_an_index, "an index"),
        (with_a_branch, "a branch"),
        (with_torch, "`torch`"),
        (with_a_hidden_norm, "an index|`norm`"),
    ],
)
def test_a_function_that_is_not_elementwise_is_refused(update: Callable[..., Any], reason: str) -> None:
    with pytest.raises(ValueError, match=rf"is not elementwise, because it uses ({reason}).*use steadystep\.guard"):
        Rule(update, scalars, (), "coupled")


def test_an_elementwise_function_may_call_others() -> None:
    def update(g, p, *, lr):
        return (p - lr * half(g) / (sqrt(abs(g)) + 1e-8),)

    Rule(update, scalars, (), "coupled")


def test_muon_is_guarded() -> None:
    """Test an optimizer that is not elementwise: a clipped step, a skipped one, and the ledger of both."""
    weight = torch.eye(3).requires_grad_()
    optimizer = steadystep.guard(torch.optim.Muon([weight], lr=0.1), clip=1.0)
    weight.grad = torch.full((3, 3), 10.0)
    optimizer.step()
    after = weight.detach().clone()
    assert not torch.equal(after, torch.eye(3))
    weight.grad = torch.full((3, 3), float("nan"))
    optimizer.step()
    assert torch.equal(weight.detach(), after)
    ledger: dict[str, Any] = optimizer.ledger  # type: ignore[attr-defined]
    assert (ledger["applied"], ledger["skipped_nonfinite"], ledger["clipped"]) == (1, 1, 1)
