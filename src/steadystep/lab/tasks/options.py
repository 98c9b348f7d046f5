"""Options in a task's name, separated by colons."""

from collections.abc import Collection

from steadystep.lab.errors import UserError

LARGEST = 100_000
"""The largest size of a network or length of a sequence."""


def is_size(text: str) -> bool:
    """Return whether a text is a whole number from 1 to `LARGEST`.

    >>> is_size("50"), is_size("0"), is_size("9" * 5000)
    (True, False, False)
    """
    return text.isdecimal() and len(text) < 7 and 0 < int(text) <= LARGEST


def parse_numbers(name: str, example: str, count: int, choices: Collection[int] = ()) -> tuple[int, ...]:
    """Return the `count` whole numbers from 1 up after the first colon of a task's name.

    Args:
        name: The task's name with its options.
        example: A valid name, which the error message shows.
        count: How many integers are required.
        choices: The accepted values. Default: all from 1 to `LARGEST`.

    Raises:
        UserError: If the name has another form, or a value is not one of `choices`.

    >>> parse_numbers("cifar10-cnn:64:256:256", "cifar10-cnn:64:256:256", count=3)
    (64, 256, 256)
    """
    parts = name.split(":")[1:]
    if len(parts) == count and all(map(is_size, parts)):
        values = tuple(map(int, parts))
        if not choices or set(values) <= set(choices):
            return values
    accepted = f" with {' or '.join(map(str, choices))}" if choices else ""
    raise UserError(f"{name!r} is not a task: write it like {example}{accepted}")
