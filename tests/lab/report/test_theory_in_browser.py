"""Test the page of the theory in a real browser: formulas and figures, light and dark, no requests."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from steadystep.lab.report.theory_page import write_theory
from steadystep.lab.theory import CLAIMS
from steadystep.lab.theory.run import run_claim

QUICK = ("starvation", "step-bound", "rnn-gradients", "latch")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_theory([run_claim(CLAIMS[name]) for name in QUICK], tmp_path_factory.mktemp("theory"))[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_shows_formulas_and_figures(browser: Browser, page_file: Path, scheme, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_function("n => document.querySelectorAll('.plot .cartesianlayer').length >= n", arg=len(QUICK))
    ink = "rgb(22, 25, 29)" if scheme == "light" else "rgb(232, 234, 237)"
    page.wait_for_function(
        "ink => [...document.querySelectorAll('.xtick text')].every(t => getComputedStyle(t).fill === ink)", arg=ink
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    heights = page.evaluate(
        "[...document.querySelectorAll('.statement math')].map(m => m.getBoundingClientRect().height)"
    )
    assert len(heights) > 5 and min(heights) > 5
    assert [url for url in requests if url != page_file.as_uri() and not url.startswith("data:")] == []
    assert messages == []
    context.close()
