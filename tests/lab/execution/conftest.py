"""Fixtures for tests of the store."""

from pathlib import Path

import pytest

from steadystep.lab.execution.store import Store
from tiny_study import WANTED


@pytest.fixture
def warnings() -> list[str]:
    """Return the list of the store's warnings."""
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> Store:
    """Return the store of a declared study without records."""
    store = Store(tmp_path / "study", warnings.append)
    store.declare(WANTED)
    return store
