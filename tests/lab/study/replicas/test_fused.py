"""The kernels are torch's operations in fewer passes, and stand only where those stood."""

import operator
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad_and_value, vmap
from torch.nn import functional

from steadystep.lab.study.replicas import kernels
from steadystep.lab.study.replicas.fused import fused, nll
from steadystep.lab.study.replicas.kernels import Kernel
from steadystep.lab.study.replicas.layout import Layout
from steadystep.lab.study.replicas.model import judging_graph, step_graph
from steadystep.lab.study.replicas.plan import Plan
from steadystep.lab.study.replicas.traced import traced
from steadystep.lab.tasks import digits_mlp

aten = torch.ops.aten
sizes = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 40))
types = st.sampled_from([torch.float32, torch.float64])


@given(sizes, types, st.integers(0, 99))
def test_each_kernel_is_what_its_operations_are(size: tuple[int, int, int], dtype: torch.dtype, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator)

    replicas, rows, width = size
    x, gradient, bias = some(*size), some(*size), some(replicas, 1, width)
    y = torch.relu(x)
    labels = torch.randint(width, (replicas, rows), generator=generator)
    back = aten.threshold_backward(gradient, y, 0)
    log_p = x.log_softmax(2)
    of_log_p, losses = vmap(grad_and_value(functional.nll_loss))(log_p, labels)
    for kernel, arguments, expected in (
        (kernels.BIASED, (x, bias), (x + bias,)),
        (kernels.BIASED_RELU, (x, bias), (torch.relu(x + bias),)),
        (kernels.RELU_BACKWARD, (gradient, y), (back, back.sum(1, keepdim=True))),
        (kernels.NLL, (log_p, labels), (losses, of_log_p)),
    ):
        for found, wanted in zip(kernel(*arguments), expected, strict=True):
            tolerance = 64 * torch.finfo(dtype).eps
            torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_comes_out_as_from_torch(bad: float) -> None:
    x, bias = torch.linspace(-1, 1, 12).view(1, 3, 4), torch.zeros(1, 1, 4)
    labels = torch.tensor([[0, 1, 2]])
    for place in range(12):
        spoilt = x.clone()
        spoilt.view(-1)[place] = bad
        torch.testing.assert_close(kernels.BIASED_RELU(spoilt, bias)[0], torch.relu(spoilt), equal_nan=True)
        [back, _] = kernels.RELU_BACKWARD(spoilt, torch.relu(x))
        torch.testing.assert_close(back, aten.threshold_backward(spoilt, torch.relu(x), 0), equal_nan=True)
        [loss, _] = kernels.NLL(spoilt, labels)
        torch.testing.assert_close(loss[0], functional.nll_loss(spoilt[0], labels[0]), equal_nan=True)


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 64, 100, 250])
def test_a_batch_is_summed_as_torch_does(rows: int) -> None:
    """To the last bit, or replicas would not be the runs that their trials are alone."""
    gradient, y = torch.randn(2, rows, 128), torch.randn(2, rows, 128)
    back, of_bias = kernels.RELU_BACKWARD(gradient, y)
    expected = aten.threshold_backward(gradient, y, 0)
    assert torch.equal(back, expected)
    assert torch.equal(of_bias, expected.sum(1, keepdim=True))
    log_p, labels = torch.randn(2, rows, 10).log_softmax(2), torch.randint(10, (2, rows))
    losses, of_log_p = kernels.NLL(log_p, labels)
    for replica in range(2):
        expected, loss = grad_and_value(functional.nll_loss)(log_p[replica], labels[replica])
        assert torch.equal(of_log_p[replica], expected)
        torch.testing.assert_close(losses[replica], loss)


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
        ["bmm"] * 8
        + ["biased_relu"] * 2
        + ["biased", "_log_softmax", "nll", "_log_softmax_backward_data", "sum"]
        + ["relu_backward"] * 2
    )
    graph = judging_graph(digits_mlp.TASK, False, LAYOUT, 2, torch.float32, *kinds)
    assert sorted(called(graph)) == sorted(
        ["bmm"] * 3 + ["biased_relu"] * 2 + ["biased", "_log_softmax", "nll", "argmax", "eq", "sum"]
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
    torch.library.opcheck(nll, (X, labels), test_utils="test_schema")
