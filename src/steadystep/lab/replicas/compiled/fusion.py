"""Which operations of a traced graph become one: what stands between a small network's products of matrices."""

import operator
from typing import Any

import torch
from torch.fx import Graph, Node

from steadystep.lab.replicas.compiled.exp_log import EXPONENTIALS
from steadystep.lab.replicas.compiled.ops import BIASED, BIASED_RELU, CROSS_ENTROPY, RELU_BACKWARD, Kernel
from steadystep.lab.replicas.compiled.program import evaluated

aten = torch.ops.aten


@torch.library.custom_op("steadystep::cross_entropy", mutates_args=(), device_types="cpu")
def cross_entropy(x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each replica's mean -log softmax(x)[label] and its gradient, of (replicas, rows, classes), (replicas, rows)."""
    losses, gradients, _ = evaluated(CROSS_ENTROPY, x, labels)
    return losses, gradients


def fused(graph: Graph) -> Graph:
    """The graph with kernels in the place of the operations that they do; changed where it is."""
    for node in list(graph.nodes):
        fuse = _FUSIONS.get(node.target)
        if fuse:
            fuse(graph, node)
    graph.eliminate_dead_code()
    return graph


def _loss(graph: Graph, loss: Node) -> None:
    """The cross-entropy, its gradient, and that one's sum over the batch where it is asked for."""
    losses, gradients, of_bias = _call(graph, loss, CROSS_ENTROPY, *loss.args)
    for part in list(loss.users):
        part.replace_all_uses_with(gradients if part.args[1] else losses)
    for total in _sums_over_batch(gradients):
        total.replace_all_uses_with(of_bias)


def _sum(graph: Graph, total: Node) -> None:
    """bias + x: what a layer ends with."""
    bias, x = total.args
    if not total.kwargs and _is_bias(bias, x):
        [y] = _call(graph, total, BIASED, x, bias)
        total.replace_all_uses_with(y)


def _relu(graph: Graph, relu: Node) -> None:
    """relu(bias + x), where the sum is for nothing else."""
    [call] = relu.args
    if isinstance(call, Node) and call.target is operator.getitem and len(call.users) == 1:
        biased = call.args[0]
        if isinstance(biased, Node) and biased.target is BIASED:
            [y] = _call(graph, relu, BIASED_RELU, *biased.args)
            relu.replace_all_uses_with(y)


def _relu_backward(graph: Graph, backward: Node) -> None:
    """What goes back through a relu, and its sum over the batch where that is asked for."""
    gradient, y, threshold = backward.args
    sums = _sums_over_batch(backward)
    if threshold == 0 and sums and _is_of_numbers(y) and _shape(gradient) == _shape(y) and len(_shape(y)) == 3:
        back, of_bias = _call(graph, backward, RELU_BACKWARD, gradient, y)
        backward.replace_all_uses_with(back)
        sums[0].replace_all_uses_with(of_bias)


_FUSIONS = {
    torch.ops.steadystep.cross_entropy.default: _loss,
    aten.add.Tensor: _sum,
    aten.relu.default: _relu,
    aten.threshold_backward.default: _relu_backward,
}


def _sums_over_batch(x: Node) -> list[Node]:
    return [user for user in x.users if user.target is aten.sum.dim_IntList and user.args[1:] == ([1], True)]


def _is_bias(bias: object, x: object) -> bool:
    """Whether one row is added to all rows of a batch, in every replica."""
    if not (isinstance(bias, Node) and isinstance(x, Node)) or len(_shape(x)) != 3 or not _is_of_numbers(x):
        return False
    replicas, rows, width = _shape(x)
    return rows > 1 and _shape(bias) == (replicas, 1, width)


def _is_of_numbers(x: object) -> bool:
    """Whether there are kernels for such elements."""
    assert isinstance(x, Node)
    return x.meta["val"].dtype in EXPONENTIALS


def _shape(node: object) -> torch.Size:
    assert isinstance(node, Node)
    return node.meta["val"].shape


def _call(graph: Graph, before: Node, kernel: Kernel, *arguments: Any) -> list[Node]:
    """A call of the kernel, and its results, in the place of an operation."""
    with graph.inserting_before(before):
        call = graph.call_function(kernel, arguments)
        results = []
        for number, value in enumerate(kernel.results(*(argument.meta["val"] for argument in arguments))):
            result = graph.call_function(operator.getitem, (call, number))
            result.meta["val"] = value
            results.append(result)
    return results
