"""The options that an arm declares for its optimizer: check them, and make an optimizer with them."""

import inspect
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import torch

from steadystep.lab.errors import UserError
from steadystep.optimizers import OPTIMIZERS, Optimizer

DECLARED_BY_THE_ARM = {"params": "the task's model", "lr": "the arm's lrs", "clip": "the arm's clip"}
"""Arguments of every optimizer that a study sets otherwise."""

FIXED: Mapping[str, Any] = {"nonfinite": "raise"}
"""What a study sets unless an arm declares it: a gradient that is not finite ends a run as diverged."""

WITHOUT_EFFECT = ("backend",)
"""Options that change how a step is computed and not what it computes."""


def check_options(optimizer: str, options: Mapping[str, Any]) -> None:
    """Check the name of every option and the kind and range of its value.

    Raises:
        UserError: If the optimizer does not take an option; the message says what it takes.

    >>> check_options("Adam", {"betas": (0.9, 0.99), "variant": "epsilon_hat"})
    """
    taken = _parameters(optimizer)
    for name, value in options.items():
        if name in DECLARED_BY_THE_ARM:
            raise UserError(f"{name} is not an option of an arm: it is set by {DECLARED_BY_THE_ARM[name]}")
        if name not in taken:
            raise UserError(f"{optimizer} has no option {name!r}; it takes {', '.join(taken)}")
        _check_value(optimizer, name, value, taken[name].annotation)


def effective_options(optimizer: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option that has an effect, with the defaults of those that are not declared.

    >>> effective_options("SGD", {}) == effective_options("SGD", {"momentum": 0, "backend": "eager"})
    True
    """
    defaults = {name: parameter.default for name, parameter in _parameters(optimizer).items()}
    merged = {**defaults, "variant": OPTIMIZERS[optimizer].variants[0], **FIXED, **options}
    return {name: value for name, value in merged.items() if name not in WITHOUT_EFFECT}


def optimizer_with_options(
    optimizer: str, options: Mapping[str, Any], lr: float, clip: Any = None, params: Any = None
) -> Optimizer:
    """Make an optimizer with the options of an arm, over `params`, or over one number to see whether it accepts them.

    It raises an error on gradients that are not finite, unless the options declare something else.

    Raises:
        UserError: If there is no such optimizer or it does not accept the options.
    """
    # The exact spelling is required, because the name is part of a trial's identity.
    if optimizer not in OPTIMIZERS:
        raise UserError(f"there is no optimizer {optimizer!r}: choose one of {', '.join(OPTIMIZERS)}")
    make: Any = OPTIMIZERS[optimizer]
    arguments = {**FIXED, **options, **_counts(optimizer, options)}
    try:
        return make([torch.zeros(1)] if params is None else params, lr=lr, clip=clip, **arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer {optimizer} does not accept the options {dict(options)}: {error}") from error


def _counts(optimizer: str, options: Mapping[str, Any]) -> dict[str, int]:
    """Return the options that count something as whole numbers: all options are stored as floats."""
    parameters = inspect.signature(OPTIMIZERS[optimizer]).parameters
    counts = [name for name in options if name in parameters and parameters[name].annotation is int]
    return {name: int(options[name]) for name in counts if _is_whole(options[name])}


def _parameters(optimizer: str) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(OPTIMIZERS[optimizer]).parameters
    return {name: one for name, one in parameters.items() if name not in DECLARED_BY_THE_ARM}


def _check_value(optimizer: str, name: str, value: Any, annotation: Any) -> None:
    """Raise an error unless the value is of the annotated kind and in the range that the optimizer declares."""
    words = _words(optimizer, name, annotation)
    if words is not None:
        if not isinstance(value, str) or (words and value not in words):
            accepted = f"one of {', '.join(words)}" if words else "a name"
            raise UserError(f"{name} is {value!r}: {optimizer} takes {accepted}")
        return
    if annotation is bool:
        if not isinstance(value, bool):
            raise UserError(f"{name} is {value!r}: {optimizer} takes true or false")
        return
    if annotation is int:
        if not _is_whole(value) or value < 1:
            raise UserError(f"{name} is {value!r}: {optimizer} takes a whole number from 1 up")
        return
    accepted = OPTIMIZERS[optimizer].hyperparameters.get(name)
    limits = f" in {accepted}" if accepted else ""
    kind, fits = "a number", _is_number(value)
    entries: tuple[Any, ...] = (value,)
    if get_origin(annotation) is tuple:
        count = len(get_args(annotation))
        kind, fits = f"a list of {count} numbers", isinstance(value, tuple) and len(value) == count
        entries = value if isinstance(value, tuple) else ()
    if not fits or not all(_is_number(entry) and (not accepted or entry in accepted) for entry in entries):
        raise UserError(f"{name} is {value!r}: {optimizer} takes {kind}{limits}")


def _words(optimizer: str, name: str, annotation: Any) -> tuple[str, ...] | None:
    """Return the words that a text option may be, () if there is no list of them, or None if it is no text."""
    if name == "variant":
        return OPTIMIZERS[optimizer].variants
    for kind in (annotation, *get_args(annotation)):
        if get_origin(kind) is Literal:
            return get_args(kind)
    return () if annotation is str or str in get_args(annotation) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and value == value // 1
