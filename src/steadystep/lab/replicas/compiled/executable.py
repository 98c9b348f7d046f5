"""A graph of operations bound to memory, to be run again and again in the same places.

What torch does for an operation besides computing takes longer than a small network's operations: finding out shapes,
finding memory, making views. All of it is done once here, for all runs.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from steadystep.lab.replicas.compiled.matmul import product_line
from steadystep.lab.replicas.compiled.ops import Kernel, Line
from steadystep.lab.replicas.compiled.program import Program

Step = Callable[[], Any]


class Plan:
    """The operations of a graph on these inputs; what they give lies in `outputs`, and is replaced by every run.

    Results that nobody needs any more give their memory to later ones, so that all of them together stay in a cache.
    The first run is the making of the plan: what the inputs hold then must be something that the operations can take.
    What is to be done `before`, in every other run, is given as lines.

    >>> from steadystep.lab.replicas.compiled.fx_trace import traced
    >>> x = torch.ones(2)
    >>> plan = Plan(traced(lambda x: [(x + 1) * 3], x), [x])
    >>> _ = x.fill_(4)
    >>> plan.run()
    >>> plan.outputs
    [tensor([15., 15.])]
    """

    def __init__(self, graph: Graph, inputs: Sequence[torch.Tensor], before: Sequence[Line] = ()) -> None:
        with torch.no_grad():
            binding = _Binding(graph, inputs)
        self.outputs, self._steps = binding.outputs, _joined([*before, *binding.steps])

    def run(self) -> None:
        for step in self._steps:
            step()


class _Binding:
    """The making of a plan: from nodes to tensors, from operations to steps."""

    def __init__(self, graph: Graph, inputs: Sequence[torch.Tensor]) -> None:
        self.steps: list[Step | Line] = []
        self.outputs: list[torch.Tensor] = []
        self._values: dict[Node, Any] = {}
        # Of what operations have written, by the address of its memory: it, and how many uses of it are to come.
        self._written: dict[int, torch.Tensor] = {}
        self._uses: Counter[int] = Counter()
        self._free: list[torch.Tensor] = []
        given = iter(inputs)
        for node in graph.nodes:
            if node.op == "placeholder":
                self._values[node] = next(given)
            elif node.op == "output":
                self.outputs = list(map_arg(node.args[0], self._values.__getitem__))
            else:
                self._values[node] = self._bind(node)
                self._note_uses(node)

    def _bind(self, node: Node) -> Any:
        """What an operation gives, where it will always be."""
        target: Any = node.target
        arguments, keywords = map_arg((node.args, node.kwargs), self._values.__getitem__)
        found = target(*arguments, **keywords)
        used = {_memory(tensor) for source in node.all_input_nodes for tensor in _tensors(self._values[source])}
        if not used or all(_memory(tensor) in used for tensor in _tensors(found)):
            return found  # a constant; or views, which follow what they look at
        places = [self._place(result) for result in _tensors(found)]
        steps = _writing(target, arguments, keywords, places)
        for step in _joined(steps):
            step()
        self.steps += steps
        return places[0] if isinstance(found, torch.Tensor) else places

    def _place(self, result: torch.Tensor) -> torch.Tensor:
        """Memory for a result: that of an earlier one of the same size, or its own."""
        for index, free in enumerate(self._free):
            if result.is_contiguous() and (free.dtype, free.numel()) == (result.dtype, result.numel()):
                result = self._free.pop(index).view(result.shape)
                break
        self._written[_memory(result)] = result
        return result

    def _note_uses(self, node: Node) -> None:
        """Count, and let go of memory that is not used any more: by its own name, or by that of a view."""
        for address in {_memory(tensor) for tensor in _tensors(self._values[node])}:
            self._uses[address] += len(node.users)
        for source in node.all_input_nodes:
            for address in {_memory(tensor) for tensor in _tensors(self._values[source])}:
                self._uses[address] -= 1
                if self._uses[address] == 0 and address in self._written:
                    self._free.append(self._written.pop(address))


def _joined(steps: Sequence[Step | Line]) -> list[Step]:
    """The steps, with what lies between two of torch's as one program each."""
    found: list[Step] = []
    for dtype, together in groupby(steps, lambda step: step.dtype if isinstance(step, Line) else None):
        part: list[Any] = list(together)
        found += [Program(part).run] if dtype else part
    return found


def _writing(target: Any, arguments: Any, keywords: Any, places: Sequence[torch.Tensor]) -> list[Step | Line]:
    """Do the operation and leave its results in these places."""
    if isinstance(target, Kernel):
        steps, operands = [], []
        for argument in arguments:
            operands.append(_in_order(argument))
            if operands[-1] is not argument:
                steps.append(partial(operands[-1].copy_, argument))
        return [*steps, target.line(operands, places)]
    if target is aten.bmm.default:
        line = product_line(*arguments, *places)
        if line:
            return [line]
    return [_writer(target, arguments, keywords, places)]


def _in_order(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, or a place for a copy where a replica's elements do not lie one after the other."""
    return tensor if tensor[0].is_contiguous() else torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _writer(target: Any, arguments: Any, keywords: Any, places: Sequence[torch.Tensor]) -> Step:
    if target in _BY_NAME:
        return partial(_BY_NAME[target], *arguments, **keywords, out=places[0])
    variant = _writing_variant(target)
    if variant:
        operation, names = variant
        return partial(operation, *arguments, **keywords, **dict(zip(names, places, strict=True)))

    def copy() -> None:
        found = target(*arguments, **keywords)
        for place, result in zip(places, [found] if isinstance(found, torch.Tensor) else found, strict=True):
            place.copy_(result)

    return copy


# Starting these by torch's own functions takes half as long as by `torch.ops`.
aten = torch.ops.aten
_BY_NAME: dict[Any, Callable[..., torch.Tensor]] = {
    operation: getattr(torch, operation.overloadpacket.__name__)
    for operation in (
        aten.bmm.default,
        aten.add.Tensor,
        aten.mul.Tensor,
        aten.sum.dim_IntList,
        aten.tanh.default,
        aten.sigmoid.default,
    )
}


def _writing_variant(target: Any) -> tuple[Any, list[str]] | None:
    """The operation that writes the same into given tensors, and by which names it takes them."""
    packet, wanted = target.overloadpacket, [(a.name, str(a.type)) for a in target._schema.arguments]
    for name in packet.overloads():
        variant = getattr(packet, name)
        written = [a.name for a in variant._schema.arguments if a.is_out]
        if written and [(a.name, str(a.type)) for a in variant._schema.arguments if not a.is_out] == wanted:
            return variant, written
    return None


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
