"""Parts shared by several commands: parsing lists of names, default folders, and the command line for resuming."""

import shlex
from pathlib import Path
from typing import Any


def split_names(text: str | None) -> tuple[str, ...]:
    """Return the names in a comma-separated list.

    >>> split_names("SGD, Adam"), split_names(None)
    (('SGD', 'Adam'), ())
    """
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def folder_for(task: str, suffix: str = "") -> Path:
    """Return the default folder of a task's study.

    >>> folder_for("cifar10-cnn:64:256:256", "-stability").as_posix()
    'studies/cifar10-cnn-64-256-256-stability'
    """
    return Path("studies") / (task.replace(":", "-") + suffix)  # file names on Windows cannot contain a colon


def command_line(command: str, **options: Any) -> str:
    """Return the command with all options that are not None, quoted for a shell; an option that is true has no value.

    >>> command_line("reproduce", task="digits-mlp", seeds=None, yes=True, out="my studies")
    "steadystep reproduce --task digits-mlp --yes --out 'my studies'"
    """
    parts = [
        f"--{name}" if value is True else f"--{name} {shlex.quote(str(value))}"
        for name, value in options.items()
        if value is not None and value is not False
    ]
    return " ".join([f"steadystep {command}", *parts])
