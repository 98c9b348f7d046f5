"""What an optimizer from elsewhere expects of its step: a closure, other arguments, dense gradients."""

import inspect
from collections.abc import Callable, Iterator
from functools import cache
from types import CodeType
from typing import Any

import torch

Closure = Callable[[], Any]

_SPARSE_ONLY = "not support dense gradients"  # in the message of torch's SparseAdam, and of what is made after it


def refuse_unguardable(kind: type[torch.optim.Optimizer]) -> None:
    """Raise an error for an optimizer whose step has no gradient that could be clipped or refused.

    Raises:
        TypeError: if it needs a closure, or takes sparse gradients only.
    """
    closure = _closure_parameter(kind)
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise TypeError(
            f"{kind.__name__} needs a closure, with which it evaluates the model inside its step, many times: "
            "there is no single gradient to clip or refuse. Clip inside the closure, with steadystep.clip_gradients"
        )
    if issubclass(kind, torch.optim.SparseAdam) or any(_SPARSE_ONLY in text for text in _texts_of_step(kind)):
        raise TypeError(
            f"{kind.__name__} takes sparse gradients only, which cannot be clipped or refused as a whole: leave it "
            "without a guard, or make the embedding with sparse=False and guard torch.optim.Adam"
        )


def take_loss(kind: type[torch.optim.Optimizer], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Take the loss out of the options of a step that has no `loss` of its own; return it, or None, and the others."""
    if "loss" not in options or "loss" in _signature(kind).parameters:
        return None, options
    return options["loss"], {name: value for name, value in options.items() if name != "loss"}


def take_closure(
    kind: type[torch.optim.Optimizer], arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Closure | None, tuple[Any, ...], dict[str, Any]]:
    """Take the closure out of the arguments of a step, and return it with the arguments that are left.

    Raises:
        TypeError: for arguments that the step of the optimizer does not accept.
    """
    if not arguments and not options:
        return None, arguments, options
    bound = _signature(kind).bind(None, *arguments, **options)
    parameter = _closure_parameter(kind)
    if parameter is not None:
        closure = bound.arguments.get(parameter.name)
        if parameter.name in bound.arguments:
            bound.arguments[parameter.name] = parameter.default
        return closure, bound.args[1:], bound.kwargs
    if "closure" in options:  # accepted as one of **kwargs
        return options["closure"], arguments, {name: value for name, value in options.items() if name != "closure"}
    if arguments and callable(arguments[0]):  # accepted as one of *args
        return arguments[0], (None, *arguments[1:]) if arguments[1:] else (), options
    return None, arguments, options


@cache
def _signature(kind: type[torch.optim.Optimizer]) -> inspect.Signature:
    return inspect.signature(kind.step)


@cache
def _closure_parameter(kind: type[torch.optim.Optimizer]) -> inspect.Parameter | None:
    """Return the parameter of an optimizer's step that is its closure, by its name, or None if none is."""
    parameters = list(_signature(kind).parameters.values())[1:]
    named = [one for one in parameters if "closure" in one.name and one.kind is not one.VAR_KEYWORD]
    return next(iter(named), None)


def _texts_of_step(kind: type[torch.optim.Optimizer]) -> Iterator[str]:
    """Yield the strings in the code of an optimizer's step."""
    codes = [getattr(inspect.unwrap(kind.step), "__code__", None)]
    while codes:
        for constant in getattr(codes.pop(), "co_consts", ()):
            if isinstance(constant, str):
                yield constant
            elif isinstance(constant, CodeType):
                codes.append(constant)
