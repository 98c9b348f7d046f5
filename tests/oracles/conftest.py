"""The oracles are collected only where the libraries for the comparison are installed: under `make oracles`."""

import os
from importlib.util import find_spec

import pytest

if find_spec("optax") is None:
    collect_ignore_glob = ["*"]
else:  # Keras and JAX read these variables when oracles/table.py imports them
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["JAX_PLATFORMS"] = "cpu"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the largest difference of every pair."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, difference in report.user_properties if "oracles/" in report.nodeid else ():
                terminalreporter.write_line(f"{difference:8.1e}  {name}")
