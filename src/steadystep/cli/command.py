"""What several commands share: lists of names, and the line that says the same command again."""

import shlex
from pathlib import Path
from typing import Any


def names(given: str | None) -> tuple[str, ...]:
    """The names in a list with commas.

    >>> names("SGD, Adam"), names(None)
    (('SGD', 'Adam'), ())
    """
    return tuple(part.strip() for part in (given or "").split(",") if part.strip())


def folder_for(task: str, suffix: str = "") -> Path:
    """Where a task's study goes if no place is named.

    >>> folder_for("cifar10-cnn:64:256:256", "-stability").as_posix()
    'studies/cifar10-cnn-64-256-256-stability'
    """
    return Path("studies") / (task.replace(":", "-") + suffix)  # a colon is no part of a file's name on Windows


def command_line(command: str, **options: Any) -> str:
    """The command with the options that were given, quoted for a shell.

    >>> command_line("reproduce", task="digits-mlp", seeds=None, out="my studies")
    "steadystep reproduce --task digits-mlp --out 'my studies'"
    """
    given = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None]
    return " ".join([f"steadystep {command}", *given])
