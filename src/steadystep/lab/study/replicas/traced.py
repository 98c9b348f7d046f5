"""A function of tensors as the plain list of operations that it comes down to, found out once and then repeated.

What `vmap` and the derivative of a model decide, they decide anew in every step; the operations are always the same.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

aten = torch.ops.aten
_RESHAPES = (aten.view.default, aten.expand.default, aten._unsafe_view.default)


def traced(function: Callable[..., Any], *examples: Any) -> Callable[..., Any]:
    """The operations of ``function(*examples)``, to be repeated on tensors of the same shapes and types.

    >>> double = traced(torch.func.vmap(lambda x: x + x), torch.zeros(3))
    >>> double(torch.ones(3))
    tensor([2., 2., 2.])
    """
    graph = make_fx(function)(*examples)
    for node in list(graph.graph.nodes):
        same = _unchanged(node)
        if same is not None:
            node.replace_all_uses_with(same)
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return _without_gradients(graph)


def _unchanged(node: Node) -> Node | None:
    """The argument that an operation returns as it is: half of what vmap leaves behind."""
    if node.op != "call_function" or not isinstance(node.args[0], Node):
        return None
    source = node.args[0]
    if node.target in _RESHAPES and source.meta["val"].shape == node.meta["val"].shape:
        return source
    if node.target is aten.mul.Scalar and node.args[1] == 1:
        return source
    if node.target is aten.transpose.int and source.target is aten.transpose.int and node.args[1:] == source.args[1:]:
        back = source.args[0]
        return back if isinstance(back, Node) else None
    return None


def _without_gradients(graph: GraphModule) -> Callable[..., Any]:
    """The graph holds the derivative already: autograd need not watch."""

    def run(*arguments: Any) -> Any:
        with torch.no_grad():
            return graph(*arguments)

    return run
