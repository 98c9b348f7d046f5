"""Trace a function of tensors into a flat list of operations.

`vmap` and autograd make the same decisions again in every step, although the operations are always the same. A trace
makes them once.
"""

from collections.abc import Callable, Sequence

import torch
from torch.fx import Graph, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.passes.dialect.common.cse_pass import CSEPass

aten = torch.ops.aten
_RESHAPES = (aten.view.default, aten.expand.default, aten._unsafe_view.default)


def trace(function: Callable[..., Sequence[torch.Tensor]], *examples: torch.Tensor) -> Graph:
    """Return the operations of ``function(*examples)`` as a graph for tensors of the same shapes and dtypes.

    Repeated operations and operations without effect are removed.

    >>> graph = trace(torch.func.vmap(lambda x: [x + x, torch.tanh(x + x)]), torch.zeros(3))
    >>> [str(node.target) for node in graph.nodes if node.op == "call_function"]
    ['aten.add.Tensor', 'aten.tanh.default']
    """
    module = make_fx(function)(*examples)
    for node in list(module.graph.nodes):
        source = _identity_argument(node)
        if source is not None:
            node.replace_all_uses_with(source)
            module.graph.erase_node(node)
    without_repetitions = CSEPass()(module)
    graph = without_repetitions.graph_module.graph if without_repetitions else module.graph
    graph.eliminate_dead_code()
    return graph


def _identity_argument(node: Node) -> Node | None:
    """Return the argument that an operation returns unchanged, or None. Half of the operations vmap adds do this."""
    if node.op != "call_function" or not isinstance(node.args[0], Node):
        return None
    source = node.args[0]
    if node.target in _RESHAPES and source.meta["val"].shape == node.meta["val"].shape:
        return source
    if node.target is aten.mul.Scalar and node.args[1] == 1:
        return source
    if node.target is aten.transpose.int and source.target is aten.transpose.int and node.args[1:] == source.args[1:]:
        original = source.args[0]
        return original if isinstance(original, Node) else None
    return None
