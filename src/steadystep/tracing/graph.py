"""Numbers that are written down instead of computed, so that one kernel can compute them all.

A step decides a hundred little things: norms, factors, verdicts, bias corrections, counts. Computed one by one, each is
on a device a kernel that takes longer to start than to run, and on a CPU much of a small model's step. Here they become
a `Graph`, in the order in which Python asks for them, and nothing is done until it is run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch


class Untraceable(Exception):
    """Something was asked for that a formula does not have, such as the value itself. Nothing has been done yet."""


class Graph:
    """What is to be computed: operations on numbers in memory, and where their results go.

    `operations` are tuples of a name and of indices of earlier operations, or of an entry of `tensors` or `numbers`:
    the structure of the formula, which steps share; what is in `tensors` and `numbers` differs.
    """

    def __init__(self) -> None:
        self.operations: list[tuple[Any, ...]] = []
        self.tensors: list[torch.Tensor] = []
        self.numbers: list[float] = []
        self.settings: dict[int, tuple[Mapping[str, Any], str]] = {}  # where some of `numbers` are read at every run
        self.length = 0  # of its vectors, as soon as there is one
        self.afterwards: list[Callable[[], None]] = []
        self.gradients: torch.Tensor | None = None  # their addresses on the device, and
        self.aligned = False  # whether all are multiples of 16: once the formula is run
        self.kernel: Any = None  # that a backend made of it
        self._places: dict[int, int] = {}  # of each of `tensors`, by its identity
        self._loads: dict[tuple[int, int], Node] = {}
        self._stores: dict[tuple[int, int], Node] = {}

    def loaded(self, tensor: torch.Tensor, entry: int = 0) -> "Node":
        """An entry of a tensor in memory, or all of a vector (entry -1); what was stored there, if something was."""
        key = (self._place(tensor), entry)
        if key in self._stores:
            return self._stores[key]
        if key not in self._loads:
            self._loads[key] = self.note("load", *key, _kind(tensor), vector=entry < 0)
        return self._loads[key]

    def vector(self, tensor: torch.Tensor) -> "Node":
        """A tensor of no dimension as a number, of one as a vector."""
        if tensor.dim() == 0:
            return self.loaded(tensor)
        if tensor.dim() != 1 or not tensor.is_contiguous() or self.length not in (0, len(tensor)):
            raise Untraceable(f"a tensor of shape {tuple(tensor.shape)} among vectors of {self.length}")
        self.length = len(tensor)
        return self.loaded(tensor, -1)

    def number(self, value: float) -> "Node":
        if value in (0.0, 1.0) and math.copysign(1.0, value) > 0:
            return self.note("constant", float(value))
        self.numbers.append(float(value))
        return self.note("number", len(self.numbers) - 1)

    def setting(self, owner: Mapping[str, Any], name: str) -> "Node":
        """A number that is read on the host whenever the formula is run, so that it may change from run to run."""
        for place, known in self.settings.items():
            if known[0] is owner and known[1] == name:
                return self.note("number", place)
        self.numbers.append(float(owner[name]))
        self.settings[len(self.numbers) - 1] = owner, name
        return self.note("number", len(self.numbers) - 1)

    def store(self, tensor: torch.Tensor, value: Any, entry: int = 0) -> None:
        """Put a number, or a vector (entry -1), there when the formula is run: after all that is loaded was."""
        value = self.lifted(value) if tensor.dtype == torch.bool else self.as_number(value)
        self._stores[self._place(tensor), entry] = value

    def stores(self) -> tuple[tuple[int, int, str, int], ...]:
        """What is to be stored where, as what, and which operation it is."""
        return tuple(
            (place, entry, _kind(self.tensors[place]), value.index) for (place, entry), value in self._stores.items()
        )

    def lifted(self, value: Any) -> "Node":
        if isinstance(value, Node):
            return value
        if isinstance(value, torch.Tensor):
            return self.vector(value)
        return self.number(float(value))

    def as_number(self, value: Any) -> "Node":
        """Truth counts as 1."""
        value = self.lifted(value)
        return self.note("as_number", value.index, vector=value.is_vector) if value.logical else value

    def note(self, name: str, *arguments: Any, vector: bool = False, logical: bool = False) -> "Node":
        self.operations.append((name, *arguments))
        return Node(self, len(self.operations) - 1, vector, logical)

    def _place(self, tensor: torch.Tensor) -> int:
        place = self._places.get(id(tensor))
        if place is None:
            place = self._places[id(tensor)] = len(self.tensors)
            self.tensors.append(tensor)
        return place


def _kind(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _binary(name: str, logical: bool = False) -> Any:
    def method(self: "Node", other: Any) -> "Node":
        return self._with(name, other, logical)

    return method


def _reflected(name: str, logical: bool = False) -> Any:
    def method(self: "Node", other: Any) -> "Node":
        return self.formula.lifted(other)._with(name, self, logical)

    return method


def _extreme(name: str) -> Any:
    def method(self: "Node", other: Any) -> "Node":
        first, second = self, self.formula.lifted(other)
        if second.is_vector:  # a vector first: see `_joined`
            first, second = second, first
        return first._with(name, second, False)

    return method


def _unary(name: str, logical: bool = False, reduces: bool = False) -> Any:
    def method(self: "Node") -> "Node":
        return self.formula.note(name, self.index, vector=self.is_vector and not reduces, logical=logical)

    return method


def _cannot(self: Any, *arguments: Any, **options: Any) -> NoReturn:
    raise Untraceable("the number is only written down")


class Node:
    """One number of a formula, or a vector of its length; arithmetic on it is noted there."""

    __slots__ = ("formula", "index", "is_vector", "logical")
    __array_ufunc__ = None  # NumPy's numbers leave arithmetic with it to it

    def __init__(self, formula: Graph, index: int, is_vector: bool, logical: bool) -> None:
        self.formula, self.index, self.is_vector, self.logical = formula, index, is_vector, logical

    @property
    def ndim(self) -> int:
        return int(self.is_vector)

    def _with(self, name: str, other: Any, logical: bool) -> "Node":
        this, other = self.formula.as_number(self), self.formula.as_number(other)
        vector = self.is_vector or other.is_vector
        return self.formula.note(name, this.index, other.index, vector=vector, logical=logical)

    def _joined(self, name: str, other: "Node") -> "Node":
        if self.is_vector != other.is_vector:  # Triton's interpreter cannot join one truth with many
            one, many = map(self.formula.as_number, (self, other))
            return (one * many if name == "both" else one + many) > 0.0
        return self.formula.note(name, self.index, other.index, vector=self.is_vector, logical=True)

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
            return self if other else self.formula.note("false", logical=True)
        return self._joined("both", self.formula.lifted(other))

    def __or__(self, other: Any) -> "Node":
        if isinstance(other, bool):
            return self.formula.note("true", logical=True) if other else self
        return self._joined("either", self.formula.lifted(other))

    __rand__, __ror__ = __and__, __or__
    __invert__ = logical_not = _unary("not", True)
    __abs__, sqrt, isfinite = _unary("magnitude"), _unary("sqrt"), _unary("isfinite", True)
    norm, largest = _unary("norm", reduces=True), _unary("largest", reduces=True)
    all, any = _unary("all", True, True), _unary("any", True, True)

    def __neg__(self) -> "Node":
        return self * -1.0

    def __rpow__(self, base: Any) -> "Node":
        """A power of a number of the host, and for kernels that have only exp its logarithm."""
        if not isinstance(base, float | int) or base < 0:
            raise Untraceable("a power of a number that is only written down")
        base, logarithm = map(self.formula.number, (base, math.log(base) if base else -math.inf))
        return self.formula.note("power", base.index, logarithm.index, self.index, vector=self.is_vector)

    def choose(self, yes: Any, no: Any) -> "Node":
        """`yes` where this is true, else `no`."""
        formula = self.formula
        yes, no = formula.lifted(yes), formula.lifted(no)
        logical = yes.logical and no.logical
        if not logical:
            yes, no = formula.as_number(yes), formula.as_number(no)
        vector = self.is_vector or yes.is_vector or no.is_vector
        return self.formula.note("choose", self.index, yes.index, no.index, vector=vector, logical=logical)

    def gather(self, positions: Sequence[int]) -> "Node":
        """Its entries at these positions, which must be all there are."""
        if len(positions) != self.formula.length:
            raise Untraceable("some entries of a vector")
        return self

    def scatter(self, positions: Sequence[int], values: Any) -> "Node":
        """The vector with its entries at these positions, which must be all there are, replaced."""
        self.gather(positions)
        return self.formula.lifted(values)

    __bool__ = __float__ = __int__ = __len__ = __iter__ = __getitem__ = __setitem__ = _cannot
    __pow__ = __mod__ = __rmod__ = __floordiv__ = __array__ = _cannot
    __torch_function__ = classmethod(_cannot)
    sign = put = quantile = _cannot

    def __getattr__(self, name: str) -> NoReturn:
        raise Untraceable(f"a number has no {name!r} before it is computed")


def graph_of(number: Any) -> Graph | None:
    """The formula that a number is part of; None for one that is there already."""
    return number.formula if isinstance(number, Node) else None


def then(number: Any, action: Callable[[], None]) -> None:
    """Do it once the device has the number: at once, or after its formula is run."""
    formula = graph_of(number)
    if formula is None:
        action()
    else:
        formula.afterwards.append(action)


def words(formula: Graph) -> np.ndarray:
    """What differs between formulas of one structure, as int64: the addresses, then the numbers' bits."""
    addresses = [tensor.data_ptr() for tensor in formula.tensors]
    for place, (owner, name) in formula.settings.items():
        formula.numbers[place] = float(owner[name])
    return np.concatenate([np.array(addresses, np.int64), np.array(formula.numbers, np.float64).view(np.int64)])
