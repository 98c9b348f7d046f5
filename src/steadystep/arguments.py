"""Refuse what a caller misspelt or mixed up, with what is taken instead."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_SYNONYMS = {
    **dict.fromkeys(("learning_rate", "learningrate", "step_size"), "lr"),
    **dict.fromkeys(("beta", "beta1", "beta2", "beta_1", "beta_2", "b1", "b2"), "betas"),
    **dict.fromkeys(("epsilon",), "eps"),
    **dict.fromkeys(("decay", "wd", "l2"), "weight_decay"),
    **dict.fromkeys(("max_norm", "max_grad_norm", "clip_norm", "clipnorm", "global_clipnorm", "grad_clip"), "clip"),
    **dict.fromkeys(("model", "params"), "parameters"),
}
"""What other libraries call some of our arguments."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def refuse_unknown(
    callee: str, options: Iterable[str], accepted: Iterable[str], instead: Mapping[str, str] | None = None
) -> None:
    """Raise an error if a keyword argument is not accepted; it lists all that are and guesses which one was meant.

    Args:
        callee: the name of what is called.
        options: the names of the keyword arguments of the call.
        accepted: those that there are.
        instead: what to do instead of certain others.

    Raises:
        TypeError: naming the argument.

    >>> refuse_unknown("ClipNorm", ["max_nrom"], ["max_norm", "scope"])
    Traceback (most recent call last):
    TypeError: ClipNorm has no argument 'max_nrom' (did you mean max_norm?); it takes max_norm, scope
    """
    names = list(accepted)
    for option in options:
        if option in names:
            continue
        if instead and option in instead:
            raise TypeError(f"{callee} has no {option!r}: {instead[option]}")
        synonym = _SYNONYMS.get(option.lower())
        close = [synonym] if synonym in names else get_close_matches(option.lower(), names, n=1)
        guess = f" (did you mean {close[0]}?)" if close else ""
        raise TypeError(f"{callee} has no argument {option!r}{guess}; it takes {', '.join(names)}")


def checked(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make a function refuse unknown keyword arguments with a list of those that it takes."""
    accepted = list(inspect.signature(function).parameters)

    @wraps(function)
    def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        refuse_unknown(function.__name__, options, accepted)
        return function(*arguments, **options)

    return call


def described(value: Any) -> str:
    """Return what a value is, in words: a class by its name, anything else as an object of its class.

    >>> described(dict), described({}), described(1), described(None)
    ('the class dict', 'a dict', 'an int', 'None')
    """
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    vowels = "AEFHILMNORSX" if name[:2].isupper() else "AEIOaeio"  # an SGD: spoken letter by letter
    return f"{'an' if name[0] in vowels else 'a'} {name}"
