"""Call a function in a way that stays finite, to see whether it is what goes wrong."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from steadystep.diagnosis.changes import Change
from steadystep.diagnosis.operations import Call, Edit, Place, operations
from steadystep.diagnosis.run import Run


def edited(edits: Mapping[Place, Edit], label: str) -> Change:
    """Call some functions in another way during a replay."""

    def around(run: Run) -> AbstractContextManager[Any]:
        return operations(run.model, None, edits)

    return Change(label, around=around)


def stable(function: str) -> tuple[Edit, str] | None:
    """Return how a function is called so that its value and its derivative are finite, and the words for it."""
    name = function.strip("_")
    for names, edit, words in _STABLE:
        if name in names:
            return edit, words.format(name=name)
    return None


def _first(change: Callable[[torch.Tensor], torch.Tensor]) -> Edit:
    def call(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return func(change(args[0]), *args[1:], **kwargs)
        return func(**{**kwargs, "input": change(kwargs["input"])})

    return call


def _tiny(tensor: torch.Tensor) -> float:
    return 1e-12 if torch.finfo(tensor.dtype).bits >= 32 else torch.finfo(tensor.dtype).tiny


def _above_zero(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clamp_min(_tiny(tensor)) if tensor.is_floating_point() else tensor


def _within_one(tensor: torch.Tensor) -> torch.Tensor:
    edge = 1 - 4 * torch.finfo(tensor.dtype).eps
    return tensor.clamp(-edge, edge)


def _not_too_large(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clamp_max(torch.log(torch.tensor(torch.finfo(tensor.dtype).max)).item() - 2)


def _without_infinities(tensor: torch.Tensor) -> torch.Tensor:
    info = torch.finfo(tensor.dtype)
    return tensor.clamp(info.min / 4, info.max / 4)


def _away_from_zero(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    top, bottom = args[0], args[1] if len(args) > 1 else kwargs["other"]
    if isinstance(bottom, torch.Tensor) and bottom.is_floating_point():
        eps = 1e-8 if torch.finfo(bottom.dtype).bits >= 32 else 1e-3
        bottom = torch.where(bottom.abs() < eps, torch.full_like(bottom, eps), bottom)
    return func(top, bottom, **{name: value for name, value in kwargs.items() if name != "other"})


def _by_the_variance(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    variance = torch.var if "mean" not in func.__name__ else torch.var_mean
    found = variance(*args, **kwargs)
    if isinstance(found, tuple):
        return (found[0] + 1e-8).sqrt(), found[1]
    return (found + 1e-8).sqrt()


def _norm_with_eps(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return func(torch.where(args[0] == 0, torch.full_like(args[0], 1e-12), args[0]), *args[1:], **kwargs)


def _root(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Keep the base of a power away from 0 if the exponent is below 1, where the derivative is infinite."""
    base, *others = args
    exponent = others[0] if others else kwargs.get("exponent")
    is_root = isinstance(exponent, int | float) and exponent < 1
    return func(_above_zero(base) if is_root else base, *others, **kwargs)


_STABLE: tuple[tuple[tuple[str, ...], Edit, str], ...] = (
    (
        ("log", "log2", "log10", "xlogy"),
        _first(_above_zero),
        "add a small constant inside {name}, or clamp what it gets",
    ),
    (("sqrt", "rsqrt", "reciprocal"), _first(_above_zero), "add a small constant inside {name}"),
    (("pow", "float_power", "__pow__"), _root, "add a small constant to what {name} gets"),
    (
        ("div", "truediv", "true_divide", "divide", "rtruediv", "rdiv"),
        _away_from_zero,
        "add a small constant to the divisor, or clamp it",
    ),
    (
        ("softmax", "log_softmax"),
        _first(_without_infinities),
        "mask with a large negative number, and leave rows without a valid element out of the loss",
    ),
    (
        ("exp", "expm1", "exp2", "cosh", "sinh"),
        _first(_not_too_large),
        "bound what {name} gets, or use a form that does not overflow such as log_softmax, logsumexp or softplus",
    ),
    (
        ("acos", "arccos", "asin", "arcsin", "atanh", "arctanh", "erfinv"),
        _first(_within_one),
        "clamp what {name} gets to inside (-1, 1)",
    ),
    (
        ("std", "std_mean"),
        _by_the_variance,
        "take the square root of the variance plus a small constant instead of {name}",
    ),
    (
        ("norm", "vector_norm", "cdist", "pairwise_distance"),
        _norm_with_eps,
        "add a small constant under the root of {name}",
    ),
)
"""Functions, how each is called so that it stays finite, and what a user writes instead."""


def above(eps: float, calls: Iterable[Call], place: Place) -> dict[Place, Edit]:
    """Return the edits that keep the tensor which a function gets above a number, in all functions that get it.

    Empty unless the function is one that needs what it gets to be positive.
    """
    if place.function not in POSITIVE:
        return {}
    given = next((_positive(call) for call in reversed(list(calls)) if call.place == place), None)
    edits: dict[Place, Edit] = {}
    for call in calls:
        for position, argument in enumerate(call.arguments):
            if given is not None and argument is given:
                edits[call.place] = _bounded(position, eps)
    return edits


POSITIVE = ("log", "log2", "log10", "sqrt", "rsqrt", "reciprocal", "div", "truediv", "true_divide", "divide")


def _positive(call: Call) -> torch.Tensor | None:
    """Return the argument that must be positive: the divisor, or the only one."""
    last = call.arguments[-1] if call.arguments else None
    return last if isinstance(last, torch.Tensor) and last.is_floating_point() else None


def _bounded(position: int, eps: float) -> Edit:
    def call(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bounded = list(args)
        bounded[position] = bounded[position].clamp_min(eps)
        return func(*bounded, **kwargs)

    return call


def without(position: int = 0) -> Edit:
    """Return the edit that leaves a function out: its result is its input."""

    def call(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args[position] if args else kwargs["input"]

    return call
