"""What several processes read of a split, compared with what one process reads."""

from collections.abc import Sequence

import torch

from steadystep.lab.tasks.splits import Batch, Split
from steadystep.lab.training.ranks import Ranks


def assert_shared_out(split: Split, order: torch.Tensor, batch: int, epoch: int, size: int) -> None:
    """Check that the shares of all processes, in their order, are the batches of one process."""
    whole = list(split.stream(order, batch, epoch))
    shares = [list(split.stream(order, batch, epoch, Ranks(rank, size).rows)) for rank in range(size)]
    assert all(len(share) == len(whole) > 0 for share in shares)
    for number, expected in enumerate(whole):
        assert_equal(joined([share[number] for share in shares]), expected)


def joined(parts: Sequence[Batch]) -> Batch:
    filled = [part for part in parts if len(part.indices)]
    return Batch(*(torch.cat(fields) for fields in zip(*filled, strict=True)))


def assert_equal(first: Batch, second: Batch) -> None:
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
