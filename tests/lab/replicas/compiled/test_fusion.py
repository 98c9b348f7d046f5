"""Kernels stand where torch's operations stood, and only there."""

import operator
from collections.abc import Callable

import pytest
import torch

from steadystep.lab.replicas.compiled.executable import Plan
from steadystep.lab.replicas.compiled.fusion import cross_entropy, fused
from steadystep.lab.replicas.compiled.fx_trace import traced
from steadystep.lab.replicas.compiled.ops import Kernel
from steadystep.lab.replicas.memory_layout import Layout
from steadystep.lab.replicas.model import judging_graph, step_graph
from steadystep.lab.tasks import digits_mlp

aten = torch.ops.aten


def called(graph: torch.fx.Graph) -> list[str]:
    names = [
        node.target.name if isinstance(node.target, Kernel) else str(node.target).split(".")[1]
        for node in graph.nodes
        if node.op == "call_function" and node.target is not operator.getitem
    ]
    return [name for name in names if name not in ("transpose", "view", "expand", "unsqueeze", "squeeze")]


LAYOUT = Layout(
    tuple(name for name, _ in digits_mlp.TASK.model().named_parameters()),
    tuple(parameter.shape for parameter in digits_mlp.TASK.model().parameters()),
    slots=2,
)


def test_a_step_of_the_digits_is_products_and_what_stands_between_them() -> None:
    kinds = (torch.Size([64, 64]), torch.float32), (torch.Size([64]), torch.int64)
    graph = step_graph(digits_mlp.TASK, LAYOUT, 2, torch.float32, *kinds)
    assert sorted(called(graph)) == sorted(
        ["bmm"] * 8 + ["biased_relu"] * 2 + ["biased", "cross_entropy"] + ["relu_backward"] * 2
    )
    graph = judging_graph(digits_mlp.TASK, False, LAYOUT, 2, torch.float32, *kinds)
    assert sorted(called(graph)) == sorted(
        ["bmm"] * 3 + ["biased_relu"] * 2 + ["biased", "cross_entropy", "argmax", "eq", "sum"]
    )


X, BIAS = torch.linspace(-2, 2, 24).view(2, 3, 4), torch.linspace(0.5, -0.5, 8).view(2, 1, 4)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda x, b: [torch.relu(b + x), b + x], ["biased", "relu"]),
        (lambda x, b: [torch.relu(x)], ["relu"]),
        (lambda x, b: [torch.relu(x + x)], ["add", "relu"]),
        (lambda x, b: [torch.add(b, x, alpha=2)], ["add"]),
        (lambda x, b: [x[:, 0] + b[:, 0]], ["select", "select", "add"]),
        (lambda x, b: [aten.threshold_backward(x, x, 0)], ["threshold_backward"]),
        (lambda x, b: [aten.threshold_backward(x, x, 0.5).sum(1, True)], ["threshold_backward", "sum"]),
        (lambda x, b: [aten.threshold_backward(x, x, 0).sum(1)], ["threshold_backward", "sum"]),
        (lambda x, b: [aten.threshold_backward(x, x, 0).sum(2, True)], ["threshold_backward", "sum"]),
    ],
)
def test_what_only_looks_alike_is_left_or_done_in_part(
    function: Callable[..., list[torch.Tensor]], names: list[str]
) -> None:
    graph = fused(traced(function, X, BIAS))
    assert called(graph) == names
    for found, expected in zip(Plan(graph, [X, BIAS]).outputs, function(X, BIAS), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_loss_as_an_operation_of_torch() -> None:
    labels = torch.zeros(2, 3, dtype=torch.int64)
    torch.library.opcheck(cross_entropy, (X, labels), test_utils="test_schema")


def test_the_gradient_of_the_loss_is_added_up_only_where_that_is_asked_for() -> None:
    labels = torch.tensor([[0, 1, 2], [3, 3, 0]])

    def function(x: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        losses, gradients = cross_entropy(x, labels)
        return [losses, gradients, gradients.sum(1, keepdim=True), gradients.sum(2, keepdim=True)]

    graph = fused(traced(function, X, labels))
    assert called(graph) == ["cross_entropy", "sum"]
    for found, expected in zip(Plan(graph, [X, labels]).outputs, function(X, labels), strict=True):
        torch.testing.assert_close(found, expected)


def test_what_does_not_lie_in_order_is_copied_first() -> None:
    x = torch.linspace(-2, 2, 24).view(2, 4, 3)

    def function(x: torch.Tensor, bias: torch.Tensor) -> list[torch.Tensor]:
        return [torch.relu(bias + x.mT), bias + x.mT]

    graph = fused(traced(function, x, BIAS))
    plan = Plan(graph, [x, BIAS])
    assert "biased" in called(graph)
    x.neg_()
    plan.run()
    for found, expected in zip(plan.outputs, function(x, BIAS), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int64])
def test_other_numbers_are_left_to_torch(dtype: torch.dtype) -> None:
    x, bias = X.to(dtype), BIAS.to(dtype)
    graph = fused(traced(lambda x, bias: [torch.relu(x + bias)], x, bias))
    assert called(graph) == ["add", "relu"]
    assert torch.equal(Plan(graph, [x, bias]).outputs[0], torch.relu(x + bias))
