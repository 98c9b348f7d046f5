"""Test the report in a real browser: the figures are drawn, the page fits on a phone, and no requests are made."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from lab_factory import ARMS, make_results
from steadystep.lab.report.page import page as render_page
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.study.spec import Arm

SCRIPT = "<script>alert(1)</script>"
FIGURES = 6


@dataclass
class Watched:
    """A page, its requests, and its messages and errors, of which there should be none."""

    page: Page
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms = (*ARMS, Arm(name=SCRIPT, optimizer="AdamW", lrs=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)))
    accuracy = {"SGD": 0.93, "Adam": 0.955, "Adam + clip": 0.957, SCRIPT: 0.94}
    results = make_results(arms=arms, accuracy=accuracy, budgets=(1, 2, 4, 8, 15), diverged={"Adam": (1,)})
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_page(results, summarise(results), "steadystep reproduce " + "x" * 200), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=[390, 1280], ids=["phone", "desktop"])
def watched(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": request.param, "height": 844}, color_scheme="dark")
    watched = Watched(context.new_page())
    watched.page.on("request", lambda request: watched.requests.append(request.url))
    watched.page.on("console", lambda message: watched.messages.append(message.text))
    watched.page.on("pageerror", lambda error: watched.messages.append(str(error)))
    watched.page.on("dialog", lambda dialog: watched.messages.append(dialog.message))
    watched.page.goto(report.as_uri())
    watched.page.wait_for_function(
        "n => document.querySelectorAll('.js-plotly-plot .main-svg .cartesianlayer').length >= n", arg=FIGURES
    )
    watched.page.wait_for_timeout(300)
    yield watched
    context.close()


def test_every_figure_is_drawn(watched: Watched) -> None:
    drawn = watched.page.evaluate(
        "[...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('.main-svg').length)"
    )
    assert len(drawn) == FIGURES
    assert all(drawn)
    assert not watched.page.get_by_text("Figures need JavaScript").is_visible()


def test_nothing_overflows_the_page(watched: Watched) -> None:
    assert watched.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    wide = "[...document.querySelectorAll('.plot')].filter(p => p.scrollWidth > p.clientWidth + 1).map(p => p.id)"
    assert watched.page.evaluate(wide) == []


def test_legends_do_not_overlap_plots(watched: Watched) -> None:
    overlapping = watched.page.evaluate(
        """[...document.querySelectorAll('.plot')].filter(plot => {
            const legend = plot.querySelector('.legend')?.getBoundingClientRect();
            if (!legend?.height) return false;
            const titles = [...plot.querySelectorAll('.xtitle, .x2title')].map(t => t.getBoundingClientRect().bottom);
            const whole = plot.getBoundingClientRect();
            return Math.max(...titles) > legend.top + 1
                || legend.right > whole.right + 1
                || legend.bottom > whole.bottom + 1;
        }).map(plot => plot.id)"""
    )
    assert overlapping == []


def test_no_button_uploads_anything(watched: Watched) -> None:
    buttons = watched.page.evaluate(
        "[...new Set([...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title))]"
    )
    assert len(buttons) in (0, 4)
    assert not [title for title in buttons if "cloud" in title.lower() or "share" in title.lower()]


def test_names_are_shown_literally(watched: Watched) -> None:
    assert SCRIPT in (watched.page.locator("#accuracy-curves .legend").text_content() or "")
    assert watched.page.locator("#results tbody th").all_text_contents()[-1] == SCRIPT


def test_text_of_figures_follows_the_colour_scheme(watched: Watched) -> None:
    color = "() => getComputedStyle(document.querySelector('#budgets .xtick text')).fill"
    assert watched.page.evaluate(color) == "rgb(232, 234, 237)"
    watched.page.emulate_media(color_scheme="light")
    watched.page.wait_for_function(f"() => ({color})() === 'rgb(22, 25, 29)'")


def test_the_page_made_no_requests(watched: Watched, report: Path) -> None:
    """Check the requests and messages of all tests above; this test must therefore come after them."""
    assert [url for url in watched.requests if url != report.as_uri() and not url.startswith("data:")] == []
    assert watched.messages == []


def test_the_tables_are_visible_without_scripts(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("#results table").is_visible()
    assert page.get_by_text("Figures need JavaScript").is_visible()
    assert not page.locator(".plot").first.is_visible()
    context.close()
