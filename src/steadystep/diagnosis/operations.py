"""See every function that a model and its loss call, and find the first one that makes something not finite."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

_HERE = str(Path(__file__).parent)
_TORCH = str(Path(torch.__file__).parent)

FILLS = frozenset(
    ("masked_fill", "masked_fill_", "full", "full_like", "where", "fill_", "new_full", "triu", "tril", "tensor")
)
"""Functions that write infinities only because they were told to, as attention masks are made."""


@dataclass(frozen=True)
class Place:
    """A function called at a line, in a module of the model or, with module "", outside of it."""

    module: str
    function: str
    line: str

    def __str__(self) -> str:
        return f"{self.module} ({self.function})" if self.module else f"{self.function} ({self.line})"

    @property
    def where(self) -> str:
        """Where it is, without the function."""
        return f"in {self.module} ({self.line})" if self.module else f"in {self.line}"

    @property
    def words(self) -> str:
        """What is said of it in a sentence."""
        return f"{self.function} in {self.module} ({self.line})" if self.module else f"{self.function} ({self.line})"


@dataclass(frozen=True)
class Event:
    """Where something became not finite."""

    place: Place
    phase: str
    """"forward" or "backward"."""
    what: str
    """What is seen there, such as "a row of -inf" or "an element that is 0"."""
    dtype: torch.dtype
    became: str = "nan"
    """"nan" or "inf"."""


@dataclass
class Seen:
    """What one forward and backward pass has shown."""

    calls: list["Call"] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    dtypes: set[torch.dtype] = field(default_factory=set)

    def first(self, phase: str) -> Event | None:
        """Return the event that explains what is not finite after a phase: what came first, masks left out."""
        return next((event for event in self.events if event.phase == phase), None)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a function: its tensors are kept while the pass is looked at."""

    place: Place
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    result: Any


Edit = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Calls a function in another way than it was called."""


class Operations(TorchFunctionMode):
    """Follows all functions of torch, with the module and the line that call them.

    Args:
        model: the model whose modules are named.
        seen: where calls and events are noted; None: nothing is looked at.
        edits: what is called instead, by place.
    """

    def __init__(self, model: nn.Module, seen: Seen | None = None, edits: Mapping[Place, Edit] | None = None) -> None:
        super().__init__()
        self._model, self._seen, self._edits = model, seen, edits or {}
        self._modules: list[str] = []
        self._nodes: dict[Any, Place] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, or what an edit calls instead."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _UNSEEN or name.startswith("__get"):
            return func(*args, **kwargs)
        place = Place(self._modules[-1] if self._modules else "", name.strip("_") or name, _line())
        edit = self._edits.get(place)
        result = func(*args, **kwargs) if edit is None else edit(func, args, kwargs)
        if self._seen is not None and func is not torch.Tensor.backward:
            self._look(place, args, kwargs, result)
        return result

    @contextmanager
    def named(self) -> Iterator[None]:
        """Follow which module is running."""
        handles = []
        for name, module in self._model.named_modules():
            handles.append(module.register_forward_pre_hook(lambda _, __, name=name: self._modules.append(name)))
            handles.append(module.register_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            self._modules.clear()
            for handle in handles:
                handle.remove()

    def _leave(self, *_: Any) -> None:
        if self._modules:
            self._modules.pop()

    def _look(self, place: Place, args: Any, kwargs: Any, result: Any) -> None:
        assert self._seen is not None
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self._seen.calls.append(Call(place, tuple(args), dict(kwargs), result))
        for output in outputs:
            if not output.dtype.is_floating_point:
                continue
            self._seen.dtypes.add(output.dtype)
            self._name_nodes(output, place)
            if (became := _became(output, inputs, place.function)) is not None:
                what = what_is_seen(place.function, args, kwargs)
                self._seen.events.append(Event(place, "forward", what, output.dtype, became))

    def _name_nodes(self, output: torch.Tensor, place: Place) -> None:
        """Remember which call the nodes of autograd belong to that it has made."""
        open_nodes = [output.grad_fn]
        while open_nodes:
            node = open_nodes.pop()
            if node is None or node in self._nodes or type(node).__name__ == "AccumulateGrad":
                continue
            self._nodes[node] = place
            open_nodes += [inner for inner, _ in node.next_functions]

    def watch_backward(self) -> None:
        """Note the first node whose result is not finite though what it was given is."""
        for node, place in self._nodes.items():
            node.register_hook(self._watch(place, type(node).__name__))

    def _watch(self, place: Place, node: str) -> Callable[..., None]:
        def look(results: tuple[Any, ...], given: tuple[Any, ...]) -> None:
            assert self._seen is not None
            if all(map(_finite, given)) and not all(map(_finite, results)):
                dtype = next(tensor.dtype for tensor in results if isinstance(tensor, torch.Tensor))
                what = f"the derivative of {place.function} ({node})"
                self._seen.events.append(Event(place, "backward", what, dtype))

        return look


@contextmanager
def operations(
    model: nn.Module, seen: Seen | None = None, edits: Mapping[Place, Edit] | None = None
) -> Iterator[Operations]:
    """Follow all functions that are called."""
    followed = Operations(model, seen, edits)
    with followed.named(), followed:
        yield followed


def _became(output: torch.Tensor, inputs: list[torch.Tensor], function: str) -> str | None:
    """Return "nan" or "inf" if a function has made one from what was finite, else None."""
    output = output.detach()
    if not output.is_floating_point() or bool(torch.isfinite(output).all()):
        return None
    floats = [tensor.detach() for tensor in inputs if tensor.is_floating_point()]
    if bool(torch.isnan(output).any()):
        return None if any(bool(torch.isnan(tensor).any()) for tensor in floats) else "nan"
    if function in FILLS or any(not bool(torch.isfinite(tensor).all()) for tensor in floats):
        return None
    return "inf"


def what_is_seen(function: str, args: Any, kwargs: Any) -> str:
    """Return what of the arguments explains that the result is not finite."""
    floats = [
        leaf.detach()
        for leaf in tree_leaves((args, kwargs))
        if isinstance(leaf, torch.Tensor) and leaf.dtype.is_floating_point
    ]
    if not floats:
        return f"{function} of no number"
    if (labels := _labels(function, args, kwargs)) is not None:
        return labels
    first = floats[0]
    if first.numel() == 0:
        return f"{function} of a tensor without elements"
    if "softmax" in function and first.dim() and bool((first == -torch.inf).all(-1).any()):
        return f"{function} gets a row of -inf"
    if function in ("log", "log2", "log10", "sqrt", "rsqrt", "reciprocal") and bool((first <= 0).any()):
        return f"{function} gets {float(first.min()):.3g}"
    if function in _DIVISIONS and bool((floats[-1] == 0).any()):
        return f"{function} divides by 0"
    finite = first[torch.isfinite(first)]
    if finite.numel() == 0:
        return f"{function} gets nothing that is finite"
    peak = max(float(each[torch.isfinite(each)].abs().max()) for each in floats if bool(torch.isfinite(each).any()))
    return f"{function} gets values up to {peak:.3g}"


def _labels(function: str, args: Any, kwargs: Any) -> str | None:
    """Return what is wrong with the labels that a likelihood gets, or None."""
    named = dict(zip(_ARGUMENTS.get(function, ()), args, strict=False)) | kwargs
    target = named.get("target")
    if function in ("cross_entropy", "nll_loss") and isinstance(target, torch.Tensor):
        index = named.get("ignore_index", -100)
        if not target.is_floating_point() and bool((target == index).all()):
            return f"all labels are {index}, which is ignored" if target.numel() else "there are no labels"
    if function == "ctc_loss":
        inputs, targets = (torch.as_tensor(named[name]) for name in ("input_lengths", "target_lengths"))
        bad = (targets > inputs).nonzero().flatten()
        if len(bad):
            return f"a target of length {int(targets[bad[0]])} for an input of length {int(inputs[bad[0]])}"
    return None


_ARGUMENTS = {
    "cross_entropy": ("input", "target"),
    "nll_loss": ("input", "target"),
    "ctc_loss": ("log_probs", "targets", "input_lengths", "target_lengths"),
}
_DIVISIONS = ("div", "div_", "truediv", "true_divide", "rtruediv", "divide")
_UNSEEN = frozenset(
    (
        "size", "dim", "numel", "is_floating_point", "is_complex", "item", "tolist", "requires_grad_",
        "stride", "is_contiguous", "data_ptr", "register_hook", "type", "get_device", "__repr__", "__len__",
        "__setitem__", "isfinite", "isnan", "isinf", "backward", "__format__", "numpy", "untyped_storage",
    )
)  # fmt: skip


def _line() -> str:
    """Return the file and line of the user's code that runs."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_TORCH, _HERE)):
            return f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _finite(value: Any) -> bool:
    return not isinstance(value, torch.Tensor) or bool(torch.isfinite(value).all())
