"""The types of the fields of a study's declaration. No number may be given as a truth value."""

import math
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

TOLERANCE = 1e-9
"""Numbers that differ by less than this fraction are one number that was written or rounded in two ways."""

_OPTIONS = "an option is a number, true or false, a word, or a list of numbers"


def refuse_boolean(value: Any) -> Any:
    """Return the value unless it is a truth value, which Python and pydantic would take for 0 or 1.

    Raises:
        ValueError: If the value is True or False.

    >>> refuse_boolean(1)
    1
    """
    if isinstance(value, bool | np.bool_):
        raise ValueError("this must be a number and not a truth value (YAML reads true, yes and on as True)")
    return value


def refuse_repeated(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return the values unless two of them are equal, apart from rounding.

    Raises:
        ValueError: If a value is repeated.

    >>> refuse_repeated((0.1, 0.3))
    (0.1, 0.3)
    """
    for one, other in pairwise(sorted(values)):
        if math.isclose(one, other, rel_tol=TOLERANCE):
            raise ValueError(f"{one!r} is repeated, and a setting is tried once: leave one out or change it")
    return values


def as_option(value: Any) -> float | bool | str | tuple[float, ...]:
    """Return the value as a float, a truth value, a word or a tuple of floats.

    A word that is a number counts as one: YAML reads 1e-8 as a word, and study files were written with it.

    Raises:
        ValueError: If it is something else, or a list with something else than numbers.

    >>> as_option(1), as_option("1e-8"), as_option("kahan"), as_option([0.9, 1])
    (1.0, 1e-08, 'kahan', (0.9, 1.0))
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple):
        return tuple(_as_number(entry) for entry in value)
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return value
        return number if math.isfinite(number) else value
    return _as_number(value)


def _as_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not accepted: {_OPTIONS}")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is not accepted: {_OPTIONS}") from None


Count = Annotated[int, BeforeValidator(refuse_boolean), Field(ge=1)]
CountFromZero = Annotated[int, BeforeValidator(refuse_boolean), Field(ge=0)]
Positive = Annotated[float, BeforeValidator(refuse_boolean), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(refuse_boolean), Field(gt=0, lt=1)]

PositiveSettings = Annotated[tuple[Positive, ...], AfterValidator(refuse_repeated)]
"""Values of a tuned parameter, each tried once."""

ShareSettings = Annotated[tuple[Share, ...], AfterValidator(refuse_repeated)]
"""Quantiles, each tried once."""

Option = Annotated[float | bool | str | tuple[float, ...], BeforeValidator(as_option)]
"""The value of an option that an arm declares for its optimizer."""
