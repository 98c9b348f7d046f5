"""The documentation site: it builds in strict mode, and a browser renders it without requests to other hosts."""

import doctest
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from steadystep.lab.report.theory_page import write_theory
from steadystep.lab.theory import CLAIMS
from steadystep.lab.theory.run import run_claim

ROOT = Path(__file__).parent.parent
QUICK = ("bias-correction", "step-bound", "scale-invariance", "starvation", "cliff", "latch")

pytest.importorskip("material", reason="the dependency group docs is not installed: run make docs")
pytest.importorskip("mkdocstrings", reason="the dependency group docs is not installed: run make docs")
pytestmark = pytest.mark.slow


def build(project: Path, theory: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", project / "mkdocs.yml", "-d", site]
    environment = {**os.environ, "STEADYSTEP_THEORY": str(theory), "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, env=environment, cwd=project, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def theory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theory")
    write_theory([run_claim(CLAIMS[name]) for name in QUICK], folder)
    return folder


@pytest.fixture(scope="module")
def site(theory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, theory, folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""


@dataclass
class RecordedPage:
    """A page that records its requests, console messages and errors."""

    page: Page
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))


@pytest.fixture(params=product((390, 1280), ("light", "dark")), ids=lambda shown: f"{shown[0]}, {shown[1]}")
def recorded(request: pytest.FixtureRequest, browser: Browser) -> Iterator[RecordedPage]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    yield RecordedPage(context.new_page())
    context.close()


@pytest.mark.parametrize(
    ("name", "shows"),
    [
        ("index.html", ".highlight code"),
        ("tutorial.html", ".highlight code"),
        ("how-to/compare.html", ".highlight code"),
        ("results/index.html", "table"),
        ("results/digits-mlp-stability/stability.html", "table"),
        ("reference/command-line.html", "article h2"),
        ("reference/differences-from-torch.html", "table"),
        ("glossary.html", "article li strong"),
        ("theory/index.html", "td .badge.bad"),
        ("theory/step-bound.html", "p math msqrt"),
        ("theory/cliff.html", ".plot .cartesianlayer .xy"),
        ("reference/optimizers/Adam.html", "div.formula mfrac"),
        ("reference/clippers.html", "div.formula math"),
        ("reference/functions.html", ".doc-heading"),
        ("results/mnist-mlp/summary.html", "table"),
        ("audit.html", "a[href='theory/step-bound.html']"),
        ("which-adam.html", "div.formula math"),
    ],
)
def test_a_page_is_rendered(recorded: RecordedPage, address: str, name: str, shows: str) -> None:
    page = recorded.page
    response = page.goto(address + name)
    assert response is not None and response.ok
    page.wait_for_selector(shows, state="attached")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    assert [url for url in recorded.requests if not url.startswith((address, "data:", "blob:"))] == []
    assert recorded.messages == []
    broken_images = page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)")
    assert broken_images == []


def test_figures_follow_the_light_and_dark_scheme(browser: Browser, address: str) -> None:
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    page.goto(address + "theory/step-bound.html")
    ink = "getComputedStyle(document.querySelector('.xtick text')).fill"
    text = "getComputedStyle(document.querySelector('.md-typeset')).color"
    page.wait_for_selector(".plot .xtick text")
    page.wait_for_function(f"{ink}.match(/\\d+/g).slice(0, 3).join() === {text}.match(/\\d+/g).slice(0, 3).join()")
    light = page.evaluate(ink)
    page.get_by_title("Switch to dark").click()
    page.wait_for_function(f"{ink}.match(/\\d+/g).slice(0, 3).join() === {text}.match(/\\d+/g).slice(0, 3).join()")
    assert page.evaluate(ink) != light
    context.close()


def test_a_page_opens_from_a_local_folder(recorded: RecordedPage, site: Path) -> None:
    page = recorded.page
    page.goto((site / "theory" / "step-bound.html").as_uri())
    page.wait_for_selector(".plot .xtick text")
    page.wait_for_load_state("networkidle")
    assert [url for url in recorded.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert recorded.messages == []


def test_search_finds_an_optimizer(recorded: RecordedPage, address: str) -> None:
    page = recorded.page
    page.goto(address + "index.html")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("/")
    page.keyboard.type("StableAdamW")
    page.wait_for_selector(".md-search-result__item a[href*='StableAdamW']", state="attached")
    assert recorded.messages == []


def test_the_doctest_of_the_docstring_converter_passes() -> None:
    spec = importlib.util.spec_from_file_location("docstrings", ROOT / "docs" / "site" / "docstrings.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    results = doctest.testmod(module)
    assert results.attempted and not results.failed


def test_no_markup_of_docstrings_is_left_unrendered(site: Path) -> None:
    pages = [site / "which-adam.html", *(site / "reference").rglob("*.html")]
    assert len(pages) > 15
    for page in pages:
        article = re.search(r"<article.*?</article>", page.read_text(), re.DOTALL)
        assert article is not None
        prose = re.sub(r"<pre.*?</pre>|<code.*?</code>|<[^>]*>", "", article[0], flags=re.DOTALL)
        assert re.findall(r"\\[a-zA-Z]+|\.\. math|``|\$\$|&gt;&gt;&gt;|^.*Args:", prose) == [], page.name


def test_a_broken_link_fails_the_build(theory: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "docs", project / "docs")
    shutil.copy(ROOT / "mkdocs.yml", project)
    (project / "src").symlink_to(ROOT / "src")
    tutorial = project / "docs" / "tutorial.md"
    tutorial.write_text(tutorial.read_text() + "\n[nowhere](reference/functions.md#no-such-heading)\n")
    built = build(project, theory, tmp_path / "site")
    assert built.returncode != 0
    assert "no-such-heading" in built.stderr
