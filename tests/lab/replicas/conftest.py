from collections.abc import Iterator

import pytest

from steadystep.lab.training.processor import cpu_settings


@pytest.fixture(autouse=True)
def settings_of_trials() -> Iterator[None]:
    """Use the CPU settings of trials, one thread, so that parallel test processes do not compete for the cores."""
    with cpu_settings():
        yield
