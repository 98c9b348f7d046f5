"""The oracles are collected only if the libraries for the comparison are installed, as in `make oracles`."""

import os
from importlib.util import find_spec

import pytest

if find_spec("optax") is None:
    collect_ignore_glob = ["*"]
else:  # Keras and JAX read these variables when oracles/table.py imports them
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["JAX_PLATFORMS"] = "cpu"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the largest difference for every pair of optimizers."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, difference in report.user_properties if "oracles/" in report.nodeid else ():
                terminalreporter.write_line(f"{difference:8.1e}  {name}")
