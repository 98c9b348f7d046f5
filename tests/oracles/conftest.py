"""The oracles are collected only where the libraries that they ask are installed: under `make oracles`."""

import os
from importlib.util import find_spec

import pytest

if find_spec("optax") is None:
    collect_ignore_glob = ["*"]
else:  # read when they are imported, which the table does
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["JAX_PLATFORMS"] = "cpu"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how far apart every pair was."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, found in report.user_properties if "oracles/" in report.nodeid else ():
                terminalreporter.write_line(f"{found:8.1e}  {name}")
