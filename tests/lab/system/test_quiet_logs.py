"""The levels of loggers during and after the block."""

import logging

import pytest

from steadystep.lab.system.quiet_logs import quiet_logs


def test_levels_are_those_of_before_also_after_an_error() -> None:
    set_by_the_user, not_set = logging.getLogger("steadystep.tests.one"), logging.getLogger("steadystep.tests.other")
    set_by_the_user.setLevel(logging.DEBUG)
    with pytest.raises(KeyError), quiet_logs({set_by_the_user.name: logging.ERROR, not_set.name: logging.CRITICAL}):
        assert (set_by_the_user.level, not_set.level) == (logging.ERROR, logging.CRITICAL)
        raise KeyError
    assert (set_by_the_user.level, not_set.level) == (logging.DEBUG, logging.NOTSET)
