"""Fuse operations of a traced graph: in a small network, the operations between two matrix products become one."""

import operator
from typing import Any

import torch
from torch.fx import Graph, Node

from steadystep.lab.replicas.compiled.exp_log import EXP_LOG
from steadystep.lab.replicas.compiled.ops import BIASED, BIASED_RELU, CROSS_ENTROPY, RELU_BACKWARD, FusedOp
from steadystep.lab.replicas.compiled.program import run_op

aten = torch.ops.aten


@torch.library.custom_op("steadystep::cross_entropy", mutates_args=(), device_types="cpu")
def cross_entropy(x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each replica's mean of -log softmax(x)[label] over the batch, and its gradient with respect to x.

    Args:
        x: (replicas, rows, classes).
        labels: (replicas, rows).
    """
    losses, gradients, _ = run_op(CROSS_ENTROPY, x, labels)
    return losses, gradients


def fuse(graph: Graph) -> Graph:
    """Replace operations with fused ones where possible; the graph is changed in place and returned."""
    for node in list(graph.nodes):
        rewrite = _REWRITES.get(node.target)
        if rewrite:
            rewrite(graph, node)
    graph.eliminate_dead_code()
    return graph


def _fuse_loss(graph: Graph, loss: Node) -> None:
    """Fuse the cross-entropy, its gradient, and the gradient's sum over the batch if the graph contains it."""
    losses, gradients, bias_gradients = _insert(graph, loss, CROSS_ENTROPY, *loss.args)
    for output in list(loss.users):
        output.replace_all_uses_with(gradients if output.args[1] else losses)
    for total in _sums_over_batch(gradients):
        total.replace_all_uses_with(bias_gradients)


def _fuse_bias(graph: Graph, total: Node) -> None:
    """Replace bias + x, the last operation of a linear layer, with a fused operation."""
    bias, x = total.args
    if not total.kwargs and _is_bias(bias, x):
        [y] = _insert(graph, total, BIASED, x, bias)
        total.replace_all_uses_with(y)


def _fuse_relu(graph: Graph, relu: Node) -> None:
    """Fuse relu(bias + x) if nothing else uses the sum."""
    [output] = relu.args
    if isinstance(output, Node) and output.target is operator.getitem and len(output.users) == 1:
        biased = output.args[0]
        if isinstance(biased, Node) and biased.target is BIASED:
            [y] = _insert(graph, relu, BIASED_RELU, *biased.args)
            relu.replace_all_uses_with(y)


def _fuse_relu_backward(graph: Graph, backward: Node) -> None:
    """Fuse the backward pass of a relu with the gradient's sum over the batch if the graph contains it."""
    gradient, y, threshold = backward.args
    sums = _sums_over_batch(backward)
    if threshold == 0 and sums and _is_supported(y) and _shape(gradient) == _shape(y) and len(_shape(y)) == 3:
        x_gradient, bias_gradient = _insert(graph, backward, RELU_BACKWARD, gradient, y)
        backward.replace_all_uses_with(x_gradient)
        sums[0].replace_all_uses_with(bias_gradient)


_REWRITES = {
    torch.ops.steadystep.cross_entropy.default: _fuse_loss,
    aten.add.Tensor: _fuse_bias,
    aten.relu.default: _fuse_relu,
    aten.threshold_backward.default: _fuse_relu_backward,
}


def _sums_over_batch(x: Node) -> list[Node]:
    return [user for user in x.users if user.target is aten.sum.dim_IntList and user.args[1:] == ([1], True)]


def _is_bias(bias: object, x: object) -> bool:
    """Return whether `bias` has one row per replica, to be added to each of several rows of x."""
    if not (isinstance(bias, Node) and isinstance(x, Node)) or len(_shape(x)) != 3 or not _is_supported(x):
        return False
    replicas, rows, width = _shape(x)
    return rows > 1 and _shape(bias) == (replicas, 1, width)


def _is_supported(x: object) -> bool:
    """Return whether the fused operations support the tensor's dtype."""
    assert isinstance(x, Node)
    return x.meta["val"].dtype in EXP_LOG


def _shape(node: object) -> torch.Size:
    assert isinstance(node, Node)
    return node.meta["val"].shape


def _insert(graph: Graph, before: Node, op: FusedOp, *arguments: Any) -> list[Node]:
    """Insert a call of `op` before a node and return the nodes of its results."""
    with graph.inserting_before(before):
        call = graph.call_function(op, arguments)
        results = []
        for number, value in enumerate(op.empty_results(*(argument.meta["val"] for argument in arguments))):
            result = graph.call_function(operator.getitem, (call, number))
            result.meta["val"] = value
            results.append(result)
    return results
