"""Options in a task's name, after colons."""

from collections.abc import Collection

from steadystep.lab.errors import UserError


def numbers(name: str, example: str, count: int, among: Collection[int] = ()) -> tuple[int, ...]:
    """So many positive numbers after the name; `among`: those that there are.

    Raises UserError, which shows the example.

    >>> numbers("cifar10-cnn:64:256:256", "cifar10-cnn:64:256:256", count=3)
    (64, 256, 256)
    """
    given = name.split(":")[1:]
    if len(given) == count and all(part.isdecimal() and int(part) > 0 for part in given):
        found = tuple(map(int, given))
        if not among or set(found) <= set(among):
            return found
    choices = f" with {' or '.join(map(str, among))}" if among else ""
    raise UserError(f"{name!r} is no task: write it like {example}{choices}")
