"""What the fork server imports, once for all workers. Only the fork server imports this module."""

import os
import sys
from importlib import import_module
from typing import Any

MODULES = ("steadystep.lab.execution.worker", "steadystep.lab.tasks")

failure: BaseException | None = None
"""The error of an import, which each worker reports: a second attempt in the worker would fail with another one."""


def _import_all() -> BaseException | None:
    try:
        for name in MODULES:
            import_module(name)
    except BaseException as error:  # noqa: BLE001 - the fork server must live, so that a worker can report it
        return error
    return None


def _say_nothing_in_server(server: int) -> Any:
    """Return an excepthook for the fork server, which dies if it cannot fork; the study reports it in one line."""

    def excepthook(*error: Any) -> None:
        if os.getpid() != server:  # a worker, which inherited the hook
            sys.__excepthook__(*error)

    return excepthook


sys.excepthook = _say_nothing_in_server(os.getpid())
failure = _import_all()
