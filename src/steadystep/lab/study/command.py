"""The command line that runs something again, and the default folder of its results."""

import shlex
from pathlib import Path
from typing import Any


def folder_for(task: str, suffix: str = "") -> Path:
    """Return the default folder of a task's study.

    >>> folder_for("cifar10-cnn:64:256:256", "-stability").as_posix()
    'studies/cifar10-cnn-64-256-256-stability'
    """
    return Path("studies") / (task.replace(":", "-") + suffix)  # file names on Windows cannot contain a colon


def command_line(command: str, **options: Any) -> str:
    """Return the command with all options that are not None, quoted for a shell.

    An option that is true has no value, and one that is a list is repeated.

    >>> command_line("reproduce", task="digits-mlp", seeds=None, yes=True, out="my studies")
    "steadystep reproduce --task digits-mlp --yes --out 'my studies'"
    >>> command_line("compare", log=["wandb", "tensorboard:runs"])
    'steadystep compare --log wandb --log tensorboard:runs'
    """
    each = [(name, item) for name, value in options.items() for item in (value if isinstance(value, list) else [value])]
    parts = [
        f"--{name}" if value is True else f"--{name} {shlex.quote(str(value))}"
        for name, value in each
        if value is not None and value is not False
    ]
    return " ".join([f"steadystep {command}", *parts])
