"""Several processes that share out the rows of a split's batches read together what one of them would read."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shared_rows import assert_shared_out
from steadystep.lab.tasks.cropped_arrays import CroppedArrays
from steadystep.lab.tasks.lanes import Lanes
from steadystep.lab.tasks.sequences import PROBLEMS
from steadystep.lab.tasks.sequences.fresh import FreshSequences
from steadystep.lab.tasks.splits import Arrays, Split
from steadystep.lab.training.ranks import Ranks

EXAMPLES = 24
NUMBERS = torch.arange(EXAMPLES)
PIXELS = torch.randint(256, (EXAMPLES, 3, 10, 12), generator=torch.Generator().manual_seed(0)).byte()
SPLITS: dict[str, Split] = {
    "arrays": Arrays(NUMBERS.float(), NUMBERS),
    "lanes": Lanes(NUMBERS.view(-1, 1), NUMBERS.view(-1, 1) + 1),
    "lanes in parts": Lanes(NUMBERS.view(-1, 1), NUMBERS.view(-1, 1) + 1, parts=2),
    "random crops": CroppedArrays(PIXELS, NUMBERS, size=6, random=True),
    "centre crops": CroppedArrays(PIXELS, NUMBERS, size=6, random=False),
    "fresh sequences": FreshSequences(PROBLEMS["temporal-order"], length=10, part="train", examples=EXAMPLES),
}


@pytest.mark.parametrize("name", SPLITS)
@given(batch=st.integers(1, EXAMPLES), size=st.integers(1, 5), epoch=st.integers(0, 3), skipped=st.integers(0, 2))
def test_shares_make_up_the_batch(name: str, batch: int, size: int, epoch: int, skipped: int) -> None:
    order = torch.arange(len(SPLITS[name]))[min(skipped * batch, EXAMPLES // 2 - 1) :]
    assert_shared_out(SPLITS[name], order, batch, epoch, size)


@given(count=st.integers(0, 1000), size=st.integers(1, 64))
def test_shares_differ_by_one_row_at_most(count: int, size: int) -> None:
    rows = [range(count)[Ranks(rank, size).rows(count)] for rank in range(size)]
    assert [row for share in rows for row in share] == list(range(count))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


@given(count=st.integers(1, 1000), size=st.integers(1, 64))
def test_the_mean_of_the_shares_is_that_of_all_rows(count: int, size: int) -> None:
    factors = map(partial(Ranks.share_of, count=count), (Ranks(rank, size) for rank in range(size)))
    assert sum(factors) / size == pytest.approx(1.0)
