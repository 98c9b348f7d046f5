from pathlib import Path

import pytest

from steadystep.lab.execution.store import Store
from tiny_study import WANTED


@pytest.fixture
def warnings() -> list[str]:
    """What the store has said."""
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> Store:
    """Of a declared study, and nothing run."""
    store = Store(tmp_path / "study", warnings.append)
    store.declare(WANTED)
    return store
