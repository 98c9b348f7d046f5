"""The Hypothesis profile of all tests, and fixtures for double precision and for a browser."""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# No deadline: machines are shared, and an example that runs slowly is not a failure.
settings.register_profile("steadystep", deadline=None)
settings.load_profile("steadystep")

# Without a CUDA device, Triton's kernels run in its interpreter. Triton reads this variable when it is imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def double_by_default() -> Iterator[None]:
    """Make float64 the default dtype, in which torch's NAdam stores mu_product whatever the dtype of the parameters."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Start a headless browser; skip the test if none is installed."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the PATH")
    # The environment of the oracles has no playwright.
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()
