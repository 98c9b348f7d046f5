"""The operations of update rules return the same results for numbers, arrays and tensors."""

import torch

from steadystep.tracing.ops import where


def test_where_keeps_float64_on_a_device() -> None:
    chosen = where(torch.tensor(True), 0.1, 0.7)
    assert chosen.dtype == torch.float64 and chosen.item() == 0.1
