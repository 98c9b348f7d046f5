from collections.abc import Iterator

import pytest

from steadystep.lab.training.processor import computing_alike


@pytest.fixture(autouse=True)
def as_where_trials_run() -> Iterator[None]:
    """In one thread. Two test processes with two threads each would also wait for each other most of the time."""
    with computing_alike():
        yield
