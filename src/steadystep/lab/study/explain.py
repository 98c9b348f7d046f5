"""Turn pydantic's errors about a declaration into a line each."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.names import closest_name

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LONGEST = 80
"""Characters of a rejected value that a message shows."""


def problems(error: ValidationError, model: type[BaseModel] | None = None) -> list[str]:
    """Return each error as one line: the field, the problem and the rejected value.

    Args:
        error: The errors.
        model: What was to be validated, so that a line can list its fields if a name is none of them.
    """
    # A list of which every entry is refused is also reported as empty.
    errors = [one for one in error.errors() if one["type"] != "too_short"] or error.errors()
    return [_problem(one, model) for one in errors]


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Return the first error as one line, with the number of the others; see `problems`."""
    first, *others = problems(error, model)
    return f"{first} (and {len(others)} more)" if others else first


def as_list(found: Sequence[str]) -> str:
    """Return one problem as it is, and several as a list with a line for each.

    >>> print(as_list(["seeds: too few", "task: there is no such task"]))
    2 problems:
      - seeds: too few
      - task: there is no such task
    """
    if len(found) == 1:
        return found[0]
    return "\n".join([f"{len(found)} problems:", *(f"  - {problem}" for problem in found)])


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


def _problem(error: "ErrorDetails", model: type[BaseModel] | None) -> str:
    where = ".".join(map(str, error["loc"]))
    given = f", got {shown(error['input'])}" if isinstance(error["input"], str | int | float | None) else ""
    if error["type"] == "extra_forbidden":
        problem, given = _unknown_field(error, model), ""
    else:
        problem = _PLAIN.get(error["type"], error["msg"].removeprefix("Value error, "))
    return " ".join(f"{where + ': ' if where else ''}{problem}{given}".split())


_PLAIN = {
    "tuple_type": "it must be a list",
    "list_type": "it must be a list",
    "dict_type": "it must have fields of its own",
    "model_type": "it must have fields of its own",
    "model_attributes_type": "it must have fields of its own",
    "string_type": "it must be a text",
    "missing": "it is missing",
}
"""What to say instead of pydantic's words for Python's types."""


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


def shown(value: Any) -> str:
    """Return a value as Python writes it, cut off after `LONGEST` characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = "a very long number"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
