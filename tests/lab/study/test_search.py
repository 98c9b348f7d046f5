"""Further learning rates: as many as asked for, and none that was tried."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadystep.lab.errors import UserError
from steadystep.lab.study.search import further_rates

RATES = st.floats(1e-6, 10.0).map(lambda rate: float(f"{rate:.4g}"))


@given(st.lists(RATES, min_size=1, max_size=6, unique=True), st.integers(0, 5), st.integers(1, 4))
def test_further_rates_are_as_many_as_asked_for_and_new(rates: list[float], place: int, number: int) -> None:
    best = sorted(rates)[place % len(rates)]
    found = further_rates(rates, best, number)
    assert len(set(found)) == number and not set(found) & set(rates)
    if len(rates) > 1 and best == max(rates):
        assert min(found) > best


@pytest.mark.parametrize(("rates", "best"), [([1e-29, 1e-28], 1e-29), ([1e29, 1e30], 1e30), ([5e-324, 1e-323], 5e-324)])
def test_a_search_that_leaves_the_range_of_numbers_is_ended(rates: list[float], best: float) -> None:
    with pytest.raises(UserError, match="beyond anything that trains"):
        further_rates(rates, best, number=3)
