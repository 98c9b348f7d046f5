"""The real data sets that some tests read, if they are available."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("STEADYSTEP_DATA") or Path(__file__).parents[1].parent / "shared" / "data")


def needs(folder: str) -> pytest.MarkDecorator:
    """Skip a test if this folder of the data is missing."""
    return pytest.mark.skipif(not (SHARED / folder).is_dir(), reason=f"needs {SHARED / folder}")
