"""Test every kind of page in a real browser, on a phone and a desktop, light and dark."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from plotly import graph_objects as go

from lab_factory import ARMS, make_results
from report_factory import make_cost, make_success, make_sweep
from steadystep.lab.figure import Figure
from steadystep.lab.report.document import html
from steadystep.lab.report.html import render_page
from steadystep.lab.report.page import page as study_page
from steadystep.lab.report.theory_page import theory_page
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.study.records import Results
from steadystep.lab.theory import CLAIMS
from steadystep.lab.theory.run import run_claim

LARGEST = 1_500_000
"""The largest size of a page in bytes."""

INK = {"light": "rgb(22, 25, 29)", "dark": "rgb(232, 234, 237)"}


def study(results: Results) -> str:
    return study_page(results, summarise(results), "steadystep reproduce --out " + "x" * 120)


def theory() -> str:
    outcomes = [run_claim(CLAIMS[name]) for name in ("cliff", "step-bound", "latch")]
    return theory_page(outcomes, [outcome.evidence.figure() for outcome in outcomes if outcome.evidence.figure])


PAGES: dict[str, Callable[[], str]] = {
    "study": lambda: study(make_results(budgets=(1, 2, 4, 8, 15), diverged={"Adam": (1,)})),
    "study of two seeds": lambda: study(make_results(seeds=2, budgets=(1, 2))),
    "study without a finished run": lambda: study(
        make_results(seeds=2, budgets=(1,), diverged={arm.name: (0, 1) for arm in ARMS})
    ),
    "stability": lambda: html(make_sweep()),
    "stability of two seeds": lambda: html(make_sweep(seeds=2)),
    "success": lambda: html(make_success()),
    "success of one seed": lambda: html(make_success(seeds=1)),
    "cost": lambda: html(make_cost()),
    "theory": theory,
}


@pytest.fixture(scope="module", params=PAGES)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "page.html"
    path.write_text(PAGES[request.param](), encoding="utf-8")
    return path


def overflowing(page: Page) -> list[str]:
    """Return the elements that reach beyond the right edge of the page and are not in a part that scrolls by itself."""
    return page.evaluate(
        """[...document.querySelectorAll('body *')].filter(element => {
            const right = element.getBoundingClientRect().right;
            return right > innerWidth + 1 && !element.closest('.scroll, pre, svg, .plot');
        }).map(element => `${element.tagName}.${element.className}`)"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_fits_draws_everything_and_reports_no_error(browser: Browser, file: Path, width: int, scheme) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True)
    page = context.new_page()
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_function(
        """ink => {
            const plots = [...document.querySelectorAll('.plot')];
            const ticks = [...document.querySelectorAll('.xtick text')];
            return plots.length && plots.every(plot => plot.querySelector('.cartesianlayer .xy'))
                && ticks.every(text => getComputedStyle(text).fill === ink);
        }""",
        arg=INK[scheme],
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    assert page.evaluate("document.body.scrollWidth <= innerWidth")
    assert overflowing(page) == []
    text = page.locator("body").inner_text()
    assert "undefined" not in text and "NaN" not in text and "nan%" not in text
    assert messages == []
    assert [url for url in requests if url != file.as_uri() and not url.startswith("data:")] == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hovering_and_the_legend_work(browser: Browser, file: Path, scheme) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector(".plot .cartesianlayer .xy")
    marks = ".scatterlayer .points path, .barlayer .point path"
    plot = page.locator(".plot", has=page.locator(marks)).first
    plot.scroll_into_view_if_needed()
    points = plot.locator(marks)
    point = points.nth(points.count() // 2).bounding_box()
    assert point is not None
    for shift in (3, 0):
        page.mouse.move(point["x"] + point["width"] / 2 + shift, point["y"] + point["height"] / 2)
    page.wait_for_selector(".hoverlayer .hovertext", state="attached")
    shown = plot.locator(".hoverlayer").text_content() or ""
    assert shown and not any(word in shown for word in ("NaN", "undefined", "%{"))
    legends = page.locator(".legendtoggle")
    if legends.count():
        legend = page.locator(".plot", has=page.locator(".legendtoggle")).first
        legend.scroll_into_view_if_needed()
        hidden = "plot => plot.data.filter(trace => trace.visible === 'legendonly').length"
        legend.locator(".legendtoggle").first.click()
        page.wait_for_function(f"() => ({hidden})(document.getElementById({legend.get_attribute('id')!r})) > 0")
    context.close()


def test_a_page_is_small(file: Path) -> None:
    assert file.stat().st_size <= LARGEST


def test_a_trace_that_the_bundle_cannot_draw_is_refused() -> None:
    figure = Figure("map", "A map", "Of something.", go.Figure(go.Heatmap(z=[[1, 2], [3, 4]])))
    with pytest.raises(ValueError, match="figure map has traces of type heatmap; use scatter or bar"):
        render_page("theory.html.j2", [figure], outcomes=[], claims="0 claims", kinds={}, mathematics=str)
