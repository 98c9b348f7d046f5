"""A function of tensors as the plain list of operations that it comes down to, found out once.

What `vmap` and the derivative of a model decide, they decide anew in every step; the operations are always the same.
"""

from collections.abc import Callable, Sequence

import torch
from torch.fx import Graph, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.passes.dialect.common.cse_pass import CSEPass

aten = torch.ops.aten
_RESHAPES = (aten.view.default, aten.expand.default, aten._unsafe_view.default)


def traced(function: Callable[..., Sequence[torch.Tensor]], *examples: torch.Tensor) -> Graph:
    """The operations of ``function(*examples)``, for tensors of the same shapes and types; none is there twice.

    >>> graph = traced(torch.func.vmap(lambda x: [x + x, torch.tanh(x + x)]), torch.zeros(3))
    >>> [str(node.target) for node in graph.nodes if node.op == "call_function"]
    ['aten.add.Tensor', 'aten.tanh.default']
    """
    found = make_fx(function)(*examples)
    for node in list(found.graph.nodes):
        same = _unchanged(node)
        if same is not None:
            node.replace_all_uses_with(same)
            found.graph.erase_node(node)
    without_repetitions = CSEPass()(found)
    graph = without_repetitions.graph_module.graph if without_repetitions else found.graph
    graph.eliminate_dead_code()
    return graph


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
