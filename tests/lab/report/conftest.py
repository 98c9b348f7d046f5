from collections.abc import Iterator

import pytest

from steadystep.lab.statistics import intervals


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """What the bootstrap finds is no matter of a report's tests, and 9,999 resamples take most of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "RESAMPLES", 99)
        yield
