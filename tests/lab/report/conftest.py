from collections.abc import Iterator

import pytest

from steadystep.lab.statistics import intervals


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Use few bootstrap resamples: tests of reports do not depend on them, and 9,999 would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "RESAMPLES", 99)
        yield
