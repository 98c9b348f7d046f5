"""Check that a rule's function is elementwise, before it is passed to a compiler."""

import dis
from collections.abc import Callable, Iterator
from functools import cache
from types import FunctionType
from typing import Any

_OPERATIONS = {"abs", "sqrt", "where", "sign", "minimum", "maximum"}  # what every backend has

_OPERATORS = {"+", "-", "*", "/", "&", "|"}
_REFUSED = {
    "BINARY_SUBSCR": "an index",
    "STORE_SUBSCR": "an index",
    "GET_ITER": "a loop",
    "IMPORT_NAME": "an import",
    "LOAD_DEREF": "a variable of an outer function",
    "LIST_APPEND": "a list",
}


@cache
def check_elementwise(function: Callable[..., Any]) -> None:
    """Raise a ValueError if a function cannot be evaluated element by element.

    Raises:
        ValueError: naming what the function uses, what it may use, and what to do instead.

    >>> def update(g, p, *, lr):
    ...     return (p - lr * g / g.norm(),)
    >>> check_elementwise(update)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: update() is not elementwise, because it uses .norm: a rule is made of +, -, *, /, ...
    """
    name = getattr(function, "__name__", repr(function))
    for reason in _reasons(function, {function}):
        raise ValueError(
            f"{name}() is not elementwise, because it uses {reason}: a rule is made of +, -, *, /, &, |, comparisons, "
            "numbers, abs, sqrt, where, sign, minimum and maximum; for an optimizer that needs more, such as Muon or "
            "Shampoo, use steadystep.guard(optimizer)"
        )


def _reasons(function: Callable[..., Any], seen: set[Callable[..., Any]]) -> Iterator[str]:
    if not isinstance(function, FunctionType):
        yield "something that is not a Python function"
        return
    for instruction in dis.get_instructions(function):
        operation, text = instruction.opname, str(instruction.argval)
        if operation in _REFUSED:
            yield _REFUSED[operation]
        elif "JUMP" in operation:
            yield "a branch or a loop, where it needs `where`"
        elif operation == "BINARY_OP" and instruction.argrepr.rstrip("=") not in _OPERATORS:
            yield f"the operator {instruction.argrepr}"
        elif operation in ("LOAD_ATTR", "LOAD_METHOD"):
            yield f".{text}"
        elif operation in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield from _reasons_of_name(text, function, seen)


def _reasons_of_name(name: str, function: FunctionType, seen: set[Callable[..., Any]]) -> Iterator[str]:
    value = function.__globals__.get(name)
    if name in _OPERATIONS or isinstance(value, int | float):
        return
    if isinstance(value, FunctionType) and not value.__module__.startswith("steadystep.tracing"):
        if value not in seen:
            seen.add(value)
            yield from _reasons(value, seen)
        return
    yield f"`{name}`"
