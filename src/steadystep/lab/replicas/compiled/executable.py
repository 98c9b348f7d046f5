"""Graphs of operations bound to fixed memory, which can be run many times.

For a small network, torch spends more time on the overhead of an operation (finding shapes, allocating memory, making
views) than on its computation. An executable does all of this once, when it is built.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from steadystep.lab.replicas.compiled.matmul import matmul_instruction
from steadystep.lab.replicas.compiled.ops import FusedOp, Instruction
from steadystep.lab.replicas.compiled.program import Program

Call = Callable[[], Any]


class Executable:
    """The operations of a graph, bound to its input tensors.

    `outputs` holds the results, which every run overwrites. The memory of results that are no longer needed is reused
    for later ones, so that all of them together stay in a cache. The graph is run once while the executable is built:
    the inputs must hold values then that the operations accept.

    Args:
        graph: the operations.
        inputs: the tensors of the graph's placeholders.
        before: instructions that each later run executes before the graph.

    >>> from steadystep.lab.replicas.compiled.fx_trace import trace
    >>> x = torch.ones(2)
    >>> executable = Executable(trace(lambda x: [(x + 1) * 3], x), [x])
    >>> _ = x.fill_(4)
    >>> executable.run()
    >>> executable.outputs
    [tensor([15., 15.])]
    """

    def __init__(self, graph: Graph, inputs: Sequence[torch.Tensor], before: Sequence[Instruction] = ()) -> None:
        with torch.no_grad():
            builder = _Builder(graph, inputs)
        self.outputs, self._calls = builder.outputs, _merge_instructions([*before, *builder.calls])

    def run(self) -> None:
        """Run all operations on the current values of the inputs."""
        for call in self._calls:
            call()


class _Builder:
    """Binds the nodes of a graph to tensors and its operations to calls."""

    def __init__(self, graph: Graph, inputs: Sequence[torch.Tensor]) -> None:
        self.calls: list[Call | Instruction] = []
        self.outputs: list[torch.Tensor] = []
        self._values: dict[Node, Any] = {}
        # Results by the address of their storage, and how many uses of each storage are still to come.
        self._results: dict[int, torch.Tensor] = {}
        self._uses: Counter[int] = Counter()
        self._free: list[torch.Tensor] = []
        remaining_inputs = iter(inputs)
        for node in graph.nodes:
            if node.op == "placeholder":
                self._values[node] = next(remaining_inputs)
            elif node.op == "output":
                self.outputs = list(map_arg(node.args[0], self._values.__getitem__))
            else:
                self._values[node] = self._bind(node)
                self._update_uses(node)

    def _bind(self, node: Node) -> Any:
        """Run an operation, add its calls, and return its results in their final memory."""
        target: Any = node.target
        arguments, keywords = map_arg((node.args, node.kwargs), self._values.__getitem__)
        value = target(*arguments, **keywords)
        inputs = {_storage(tensor) for source in node.all_input_nodes for tensor in _tensors(self._values[source])}
        if not inputs or all(_storage(tensor) in inputs for tensor in _tensors(value)):
            return value  # a constant, or views, which need no call
        results = [self._allocate(result) for result in _tensors(value)]
        calls = _lower(target, arguments, keywords, results)
        for call in _merge_instructions(calls):
            call()
        self.calls += calls
        return results[0] if isinstance(value, torch.Tensor) else results

    def _allocate(self, result: torch.Tensor) -> torch.Tensor:
        """Return memory for a result: a free tensor of the same size and dtype, or the result's own memory."""
        for index, free in enumerate(self._free):
            if result.is_contiguous() and (free.dtype, free.numel()) == (result.dtype, result.numel()):
                result = self._free.pop(index).view(result.shape)
                break
        self._results[_storage(result)] = result
        return result

    def _update_uses(self, node: Node) -> None:
        """Count the uses of a node's memory, and free memory that no later node uses, directly or through a view."""
        for address in {_storage(tensor) for tensor in _tensors(self._values[node])}:
            self._uses[address] += len(node.users)
        for source in node.all_input_nodes:
            for address in {_storage(tensor) for tensor in _tensors(self._values[source])}:
                self._uses[address] -= 1
                if self._uses[address] == 0 and address in self._results:
                    self._free.append(self._results.pop(address))


def _merge_instructions(calls: Sequence[Call | Instruction]) -> list[Call]:
    """Return the calls, with consecutive instructions of one dtype merged into one program."""
    merged: list[Call] = []
    for dtype, group in groupby(calls, lambda call: call.dtype if isinstance(call, Instruction) else None):
        members: list[Any] = list(group)
        merged += [Program(members).run] if dtype else members
    return merged


def _lower(target: Any, arguments: Any, keywords: Any, results: Sequence[torch.Tensor]) -> list[Call | Instruction]:
    """Return the calls and instructions that write an operation's results into these tensors."""
    if isinstance(target, FusedOp):
        calls, inputs = [], []
        for argument in arguments:
            inputs.append(_contiguous_buffer(argument))
            if inputs[-1] is not argument:
                calls.append(partial(inputs[-1].copy_, argument))
        return [*calls, target.instruction(inputs, results)]
    if target is aten.bmm.default:
        instruction = matmul_instruction(*arguments, *results)
        if instruction:
            return [instruction]
    return [_torch_call(target, arguments, keywords, results)]


def _contiguous_buffer(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor if each replica's elements are contiguous, otherwise an uninitialised buffer for a copy."""
    return tensor if tensor[0].is_contiguous() else torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _torch_call(target: Any, arguments: Any, keywords: Any, results: Sequence[torch.Tensor]) -> Call:
    """Return a call of a torch operation that writes the results, or copies them if there is no `out` overload."""
    if target in _TORCH_FUNCTIONS:
        return partial(_TORCH_FUNCTIONS[target], *arguments, **keywords, out=results[0])
    overload = _out_overload(target)
    if overload:
        operation, names = overload
        return partial(operation, *arguments, **keywords, **dict(zip(names, results, strict=True)))

    def copy() -> None:
        value = target(*arguments, **keywords)
        for result, tensor in zip(results, [value] if isinstance(value, torch.Tensor) else value, strict=True):
            result.copy_(tensor)

    return copy


# A call of these functions has half the overhead of a call through `torch.ops`.
aten = torch.ops.aten
_TORCH_FUNCTIONS: dict[Any, Callable[..., torch.Tensor]] = {
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


def _out_overload(target: Any) -> tuple[Any, list[str]] | None:
    """Return the overload of an operation that writes into given tensors, and the names of its output arguments."""
    packet, inputs = target.overloadpacket, [(a.name, str(a.type)) for a in target._schema.arguments]
    for name in packet.overloads():
        overload = getattr(packet, name)
        outputs = [a.name for a in overload._schema.arguments if a.is_out]
        if outputs and [(a.name, str(a.type)) for a in overload._schema.arguments if not a.is_out] == inputs:
            return overload, outputs
    return None


def _storage(tensor: torch.Tensor) -> int:
    """Return the address of a tensor's storage."""
    return tensor.untyped_storage().data_ptr()


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
