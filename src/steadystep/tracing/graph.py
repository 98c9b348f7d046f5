"""A graph of the scalars of a step, recorded while the step runs in Python and evaluated later by one kernel.

A step decides many small things: norms, factors, verdicts, bias corrections, counters. On an accelerator each of them
would be a kernel that takes longer to launch than to run, and on a CPU they are a large part of a small model's step.
So they are captured: Python runs the step on `Node`s, every operation on a node adds another node to the `Graph`, and
nothing is computed until a backend evaluates the graph.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch


class Untraceable(Exception):
    """The step needs something that a graph cannot record, such as a concrete value. Nothing has been changed yet."""


class Graph:
    """Scalar operations on numbers in memory, and the memory in which their results are stored.

    `nodes` are tuples of an operation's name and its operands: indices of earlier nodes, of `tensors` or of `numbers`.
    They are the structure of the graph. Graphs of the same structure share a compiled kernel; they differ in `tensors`
    and `numbers`.
    """

    def __init__(self) -> None:
        self.nodes: list[tuple[Any, ...]] = []
        self.tensors: list[torch.Tensor] = []
        self.numbers: list[float] = []
        self.options: dict[int, tuple[Mapping[str, Any], str]] = {}  # entries of `numbers` that every replay reads anew
        self.length = 0  # of the vectors, once there is one
        self.updates: list[Callable[[Any], None]] = []  # called with the gradients' addresses after each evaluation
        self.callbacks: list[Callable[[], None]] = []  # called after the updates
        self._places: dict[int, int] = {}  # of each of `tensors`, by its id
        self._loads: dict[tuple[int, int], Node] = {}
        self._stores: dict[tuple[int, int], Node] = {}

    def load(self, tensor: torch.Tensor, entry: int = 0) -> "Node":
        """Return a node for an entry of a tensor or a whole vector (-1): the stored node if the graph stores one."""
        key = (self._place(tensor), entry)
        if key in self._stores:
            return self._stores[key]
        if key not in self._loads:
            self._loads[key] = self.add("load", *key, _dtype_name(tensor), vector=entry < 0)
        return self._loads[key]

    def load_all(self, tensor: torch.Tensor) -> "Node":
        """Return a zero-dimensional tensor as a number, and a one-dimensional tensor as a vector."""
        if tensor.dim() == 0:
            return self.load(tensor)
        if tensor.dim() != 1 or not tensor.is_contiguous() or self.length not in (0, len(tensor)):
            raise Untraceable(f"a tensor of shape {tuple(tensor.shape)} among vectors of {self.length}")
        self.length = len(tensor)
        return self.load(tensor, -1)

    def number(self, value: float) -> "Node":
        """Return a node for a constant; the constants 0 and 1 become part of the graph's structure."""
        if value in (0.0, 1.0) and math.copysign(1.0, value) > 0:
            return self.add("constant", float(value))
        self.numbers.append(float(value))
        return self.add("number", len(self.numbers) - 1)

    def option(self, group: Mapping[str, Any], name: str) -> "Node":
        """Return a node for a parameter group's option that is read at every replay, because schedulers change it."""
        for place, known in self.options.items():
            if known[0] is group and known[1] == name:
                return self.add("number", place)
        self.numbers.append(float(group[name]))
        self.options[len(self.numbers) - 1] = group, name
        return self.add("number", len(self.numbers) - 1)

    def store(self, tensor: torch.Tensor, value: Any, entry: int = 0) -> None:
        """Store a number, or a vector (entry -1). All loads happen before the first store."""
        value = self.to_node(value) if tensor.dtype == torch.bool else self.as_number(value)
        self._stores[self._place(tensor), entry] = value

    def fill(self, vector: torch.Tensor, value: Any) -> None:
        """Store a number in all entries of a vector, which may be shorter than the vectors of the graph.

        The entry -1 - n stands for the first n entries, all of them equal.
        """
        self._stores[self._place(vector), -1 - len(vector)] = self.as_number(value)

    def stores(self) -> tuple[tuple[int, int, str, int], ...]:
        """Return (index in `tensors`, entry, dtype name, index of the node) for each store; see `store` and `fill`."""
        return tuple(
            (place, entry, _dtype_name(self.tensors[place]), node.index)
            for (place, entry), node in self._stores.items()
        )

    def to_node(self, value: Any) -> "Node":
        """Return a node for a node, a tensor or a Python number."""
        if isinstance(value, Node):
            return value
        if isinstance(value, torch.Tensor):
            return self.load_all(value)
        return self.number(float(value))

    def as_number(self, value: Any) -> "Node":
        """Return a node for a value as a float64, in which true is 1 and false is 0."""
        node = self.to_node(value)
        return self.add("as_number", node.index, vector=node.is_vector) if node.is_logical else node

    def add(self, name: str, *operands: Any, vector: bool = False, logical: bool = False) -> "Node":
        """Add an operation, and return its result."""
        self.nodes.append((name, *operands))
        return Node(self, len(self.nodes) - 1, vector, logical)

    def arguments(self) -> np.ndarray:
        """Return what differs between graphs of one structure, as int64: the addresses and the bits of the numbers."""
        addresses = [tensor.data_ptr() for tensor in self.tensors]
        for place, (group, name) in self.options.items():
            self.numbers[place] = float(group[name])
        return np.concatenate([np.array(addresses, np.int64), np.array(self.numbers, np.float64).view(np.int64)])

    def _place(self, tensor: torch.Tensor) -> int:
        place = self._places.get(id(tensor))
        if place is None:
            place = self._places[id(tensor)] = len(self.tensors)
            self.tensors.append(tensor)
        return place


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _binary(name: str, logical: bool = False) -> Any:
    def method(self: "Node", other: Any) -> "Node":
        return self._combine(name, other, logical)

    return method


def _reflected(name: str, logical: bool = False) -> Any:
    def method(self: "Node", other: Any) -> "Node":
        return self.graph.to_node(other)._combine(name, self, logical)

    return method


def _extreme(name: str) -> Any:
    def method(self: "Node", other: Any) -> "Node":
        first, second = self, self.graph.to_node(other)
        if second.is_vector:  # the vector comes first, as in `_logical`
            first, second = second, first
        return first._combine(name, second, False)

    return method


def _unary(name: str, logical: bool = False, reduces: bool = False) -> Any:
    def method(self: "Node") -> "Node":
        return self.graph.add(name, self.index, vector=self.is_vector and not reduces, logical=logical)

    return method


def _untraceable(self: Any, *arguments: Any, **options: Any) -> NoReturn:
    raise Untraceable("a node has no value before its graph is evaluated")


class Node:
    """A number in a graph, or a vector of the graph's length. Arithmetic on it adds nodes to the graph."""

    __slots__ = ("graph", "index", "is_logical", "is_vector")
    __array_ufunc__ = None  # lets NumPy's numbers leave arithmetic with a node to the node

    def __init__(self, graph: Graph, index: int, is_vector: bool, is_logical: bool) -> None:
        self.graph, self.index, self.is_vector, self.is_logical = graph, index, is_vector, is_logical

    @property
    def ndim(self) -> int:
        """1 for a vector, 0 for a number."""
        return int(self.is_vector)

    def _combine(self, name: str, other: Any, logical: bool) -> "Node":
        left, right = self.graph.as_number(self), self.graph.as_number(other)
        return self.graph.add(name, left.index, right.index, vector=left.is_vector or right.is_vector, logical=logical)

    def _logical(self, name: str, other: "Node") -> "Node":
        if self.is_vector != other.is_vector:  # Triton's interpreter cannot combine a scalar bool with a vector of them
            left, right = map(self.graph.as_number, (self, other))
            return (left * right if name == "both" else left + right) > 0.0
        return self.graph.add(name, self.index, other.index, vector=self.is_vector, logical=True)

    __add__, __radd__ = _binary("add"), _reflected("add")
    __sub__, __rsub__ = _binary("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _binary("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _binary("divide"), _reflected("divide")
    __lt__, __le__ = _binary("less", True), _binary("less_equal", True)
    __gt__, __ge__ = _binary("greater", True), _binary("greater_equal", True)
    __eq__, __ne__ = _binary("equal", True), _binary("not_equal", True)
    __hash__ = object.__hash__
    minimum, maximum = _extreme("minimum"), _extreme("maximum")

    def __and__(self, other: Any) -> "Node":
        if isinstance(other, bool):
            return self if other else self.graph.add("false", logical=True)
        return self._logical("both", self.graph.to_node(other))

    def __or__(self, other: Any) -> "Node":
        if isinstance(other, bool):
            return self.graph.add("true", logical=True) if other else self
        return self._logical("either", self.graph.to_node(other))

    __rand__, __ror__ = __and__, __or__
    __invert__ = logical_not = _unary("not", True)
    __abs__, sqrt, isfinite = _unary("magnitude"), _unary("sqrt"), _unary("isfinite", True)
    norm, largest = _unary("norm", reduces=True), _unary("largest", reduces=True)
    all, any = _unary("all", True, True), _unary("any", True, True)

    def __neg__(self) -> "Node":
        return self * -1.0

    def __rpow__(self, base: Any) -> "Node":
        # The logarithm of the base is recorded too, for kernels that have exp and no power.
        if not isinstance(base, float | int) or base < 0:
            raise Untraceable("a power whose base is not a number of the host")
        base, logarithm = map(self.graph.number, (base, math.log(base) if base else -math.inf))
        return self.graph.add("power", base.index, logarithm.index, self.index, vector=self.is_vector)

    def where(self, yes: Any, no: Any) -> "Node":
        """Return `yes` where this node is true, and `no` elsewhere."""
        graph = self.graph
        yes, no = graph.to_node(yes), graph.to_node(no)
        logical = yes.is_logical and no.is_logical
        if not logical:
            yes, no = graph.as_number(yes), graph.as_number(no)
        vector = self.is_vector or yes.is_vector or no.is_vector
        return graph.add("choose", self.index, yes.index, no.index, vector=vector, logical=logical)

    def gather(self, positions: Sequence[int]) -> "Node":
        """Return the entries at these positions, which must include every entry."""
        if len(positions) != self.graph.length:
            raise Untraceable("some entries of a vector")
        return self

    def scatter(self, positions: Sequence[int], values: Any) -> "Node":
        """Return the vector with the entries at these positions replaced; they must be all of its entries."""
        self.gather(positions)
        return self.graph.to_node(values)

    __bool__ = __float__ = __int__ = __len__ = __iter__ = __getitem__ = __setitem__ = _untraceable
    __pow__ = __mod__ = __rmod__ = __floordiv__ = __array__ = _untraceable
    __torch_function__ = classmethod(_untraceable)
    sign = put = quantile = _untraceable

    def __getattr__(self, name: str) -> NoReturn:
        raise Untraceable(f"a node has no {name!r} before its graph is evaluated")


def graph_of(number: Any) -> Graph | None:
    """Return the graph that a number belongs to, or None if it is not a node."""
    return number.graph if isinstance(number, Node) else None
