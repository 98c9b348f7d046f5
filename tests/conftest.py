"""What all tests share: one Hypothesis profile, torch's peers in double precision and a browser, where asked for."""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A browser without a window; a test that wants one is skipped where none is installed."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the PATH")
    # The oracles' environment has no playwright.
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()
