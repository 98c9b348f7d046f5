"""Fused operations replace the equivalent torch operations, and no others."""

import operator
from collections.abc import Callable

import pytest
import torch

from steadystep.lab.replicas.compiled.executable import Executable
from steadystep.lab.replicas.compiled.fusion import cross_entropy, fuse
from steadystep.lab.replicas.compiled.fx_trace import trace
from steadystep.lab.replicas.compiled.ops import FusedOp
from steadystep.lab.replicas.memory_layout import Layout
from steadystep.lab.replicas.model import evaluation_graph, step_graph
from steadystep.lab.tasks import digits_mlp

aten = torch.ops.aten


def op_names(graph: torch.fx.Graph) -> list[str]:
    names = [
        node.target.name if isinstance(node.target, FusedOp) else str(node.target).split(".")[1]
        for node in graph.nodes
        if node.op == "call_function" and node.target is not operator.getitem
    ]
    return [name for name in names if name not in ("transpose", "view", "expand", "unsqueeze", "squeeze")]


LAYOUT = Layout(
    tuple(name for name, _ in digits_mlp.TASK.model().named_parameters()),
    tuple(parameter.shape for parameter in digits_mlp.TASK.model().parameters()),
    slots=2,
)


def test_graphs_of_the_digits_are_products_and_fused_operations() -> None:
    kinds = (torch.Size([64, 64]), torch.float32), (torch.Size([64]), torch.int64)
    graph = step_graph(digits_mlp.TASK, LAYOUT, 2, torch.float32, *kinds)
    assert sorted(op_names(graph)) == sorted(
        ["bmm"] * 8 + ["biased_relu"] * 2 + ["biased", "cross_entropy"] + ["relu_backward"] * 2
    )
    graph = evaluation_graph(digits_mlp.TASK, False, LAYOUT, 2, torch.float32, *kinds)
    assert sorted(op_names(graph)) == sorted(
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
def test_operations_that_cannot_be_fused_are_left_to_torch(
    function: Callable[..., list[torch.Tensor]], names: list[str]
) -> None:
    graph = fuse(trace(function, X, BIAS))
    assert op_names(graph) == names
    for found, expected in zip(Executable(graph, [X, BIAS]).outputs, function(X, BIAS), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_loss_is_a_valid_custom_operator() -> None:
    labels = torch.zeros(2, 3, dtype=torch.int64)
    torch.library.opcheck(cross_entropy, (X, labels), test_utils="test_schema")


def test_only_the_sum_of_the_loss_gradient_over_the_batch_is_fused() -> None:
    labels = torch.tensor([[0, 1, 2], [3, 3, 0]])

    def function(x: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
        losses, gradients = cross_entropy(x, labels)
        return [losses, gradients, gradients.sum(1, keepdim=True), gradients.sum(2, keepdim=True)]

    graph = fuse(trace(function, X, labels))
    assert op_names(graph) == ["cross_entropy", "sum"]
    for found, expected in zip(Executable(graph, [X, labels]).outputs, function(X, labels), strict=True):
        torch.testing.assert_close(found, expected)


def test_inputs_that_are_not_contiguous_are_copied_first() -> None:
    x = torch.linspace(-2, 2, 24).view(2, 4, 3)

    def function(x: torch.Tensor, bias: torch.Tensor) -> list[torch.Tensor]:
        return [torch.relu(bias + x.mT), bias + x.mT]

    graph = fuse(trace(function, x, BIAS))
    executable = Executable(graph, [x, BIAS])
    assert "biased" in op_names(graph)
    x.neg_()
    executable.run()
    for found, expected in zip(executable.outputs, function(x, BIAS), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int64])
def test_other_dtypes_are_left_to_torch(dtype: torch.dtype) -> None:
    x, bias = X.to(dtype), BIAS.to(dtype)
    graph = fuse(trace(lambda x, bias: [torch.relu(x + bias)], x, bias))
    assert op_names(graph) == ["add", "relu"]
    assert torch.equal(Executable(graph, [x, bias]).outputs[0], torch.relu(x + bias))
