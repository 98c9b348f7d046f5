"""Check the arguments of a function against their annotations before it is called."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pydantic import ConfigDict, ValidationError, create_model

from steadystep.lab.errors import UserError
from steadystep.lab.study.explain import shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

P = ParamSpec("P")
T = TypeVar("T")

_WANTED = {
    "bool_parsing": "True or False",
    "float_parsing": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "path_type": "a path",
    "string_type": "text",
    "value_error": "a number",  # the only validator of an argument refuses truth values
}
"""What is accepted, by pydantic's type of the error; its own words are used for the others."""


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function with arguments that are converted to the types of its annotations, or refused.

    Raises:
        UserError: on a call with an argument that does not fit; the message names it, what is accepted and the value.
        TypeError: on a call with a name that is no argument, as always.

    >>> @checked
    ... def start(workers: int = 1) -> int:
    ...     return workers
    >>> start(workers=1.5)
    Traceback (most recent call last):
    steadystep.lab.errors.UserError: workers must be a whole number, got 1.5
    """
    signature = inspect.signature(function)
    fields: dict[str, Any] = {
        one.name: (one.annotation, ... if one.default is one.empty else one.default)
        for one in signature.parameters.values()
    }
    arguments = create_model("Arguments", __config__=ConfigDict(arbitrary_types_allowed=True), **fields)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        given = signature.bind(*args, **kwargs)
        try:
            fitting = arguments(**given.arguments)
        except ValidationError as error:
            raise UserError(_problem(error, given.arguments)) from None
        given.arguments.update({name: getattr(fitting, name) for name in given.arguments})
        return function(*given.args, **given.kwargs)

    return call


def _problem(error: ValidationError, given: Mapping[str, Any]) -> str:
    """Return the problem of the first argument that does not fit, with everything that is accepted."""
    errors = error.errors()
    name = str(errors[0]["loc"][0])
    wanted = dict.fromkeys(_wanted(one) for one in errors if one["loc"][0] == name)
    return f"{name} must be {' or '.join(wanted)}, got {shown(given[name])}"


def _wanted(error: "ErrorDetails") -> str:
    words = _WANTED.get(error["type"], error["msg"].removeprefix("Input should be "))
    in_list = isinstance(error["loc"][-1], int)
    return f"a list of {words}" if in_list else words.replace("an instance of Sequence", "a list")
