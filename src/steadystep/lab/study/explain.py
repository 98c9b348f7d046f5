"""Turn pydantic's errors about a declaration into one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.names import closest_name

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LONGEST = 80
"""Characters of a rejected value that a message shows."""


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Return the first error as one line: the field, the problem and the rejected value.

    Args:
        error: The error.
        model: What was to be validated, so that the message can list its fields if a name is none of them.
    """
    # A list of which every entry is refused is also reported as empty.
    errors = [one for one in error.errors() if one["type"] != "too_short"] or error.errors()
    first = errors[0]
    where = ".".join(map(str, first["loc"]))
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    given = f", got {_shown(first['input'])}" if isinstance(first["input"], str | int | float | None) else ""
    if first["type"] == "extra_forbidden":
        problem, given = _unknown_field(first, model), ""
    else:
        problem = first["msg"].removeprefix("Value error, ")
    return " ".join(f"{where + ': ' if where else ''}{problem}{given}{more}".split())


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Raise an invalid declaration within the block as an error of one line.

    Raises:
        UserError: if pydantic refuses the declaration.
    """
    try:
        yield
    except ValidationError as error:
        raise UserError(explain(error)) from None


def _unknown_field(error: "ErrorDetails", model: type[BaseModel] | None) -> str:
    *path, name = error["loc"]
    for part in path:
        if model and isinstance(part, str):
            model = _inner_model(model, part)
    accepted = list(model.model_fields) if model else []
    closest = closest_name(str(name), accepted)
    hint = f": did you mean {closest}?" if closest else ""
    fields = f"{hint or ';'} The fields are {', '.join(accepted)}" if accepted else ""
    return f"there is no such field{fields}"


def _inner_model(model: type[BaseModel], field: str) -> type[BaseModel] | None:
    """Return the model of a field, or of the entries of a field that is a list."""
    annotation = model.model_fields[field].annotation
    kinds = [annotation, *get_args(annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = "a very long number"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
