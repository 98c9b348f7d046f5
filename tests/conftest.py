"""What all tests share: one Hypothesis profile, and torch's peers in double precision where that is asked for."""

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# No deadline: machines are shared, and a slow moment is no failure.
settings.register_profile("steadystep", deadline=None)
settings.load_profile("steadystep")

# Where there is no CUDA device, Triton's kernels run in its interpreter; Triton asks for this when it is imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def double_by_default() -> Iterator[None]:
    """torch's NAdam keeps mu_product in the default dtype, whatever the parameters are."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
