import json
import re
from html.parser import HTMLParser

from lab_factory import make_results
from steadystep.lab.report.page import page
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.study.records import Results
from steadystep.lab.study.spec import Arm

SCRIPT = "<script>alert(1)</script>"
COMMAND = "steadystep reproduce --out '</pre><b>x'"


class Structure(HTMLParser):
    """The elements of a page, their text, and every address that a browser would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self.tags[-1] if self.tags else "", []).append(data)


def rendered(results: Results) -> str:
    return page(results, summarise(results), COMMAND)


def with_arm(name: str) -> Results:
    arms = [Arm(name=name, optimizer="Adam", lrs=(0.1, 0.2, 0.3)), Arm(name="SGD", optimizer="SGD", lrs=(1, 2, 3))]
    return make_results(arms=arms, accuracy={name: 0.9, "SGD": 0.9}, seeds=3, budgets=(1, 2))


def test_a_name_is_text_everywhere() -> None:
    html = rendered(with_arm(SCRIPT))
    assert "<script>alert" not in html
    structure = Structure(html)
    assert structure.tags.count("script") == 3  # the figures' data, plotly.js, our own
    assert SCRIPT in structure.text["th"]
    assert COMMAND in structure.text["code"]


def test_data_cannot_end_its_script_element() -> None:
    html = rendered(with_arm("</script><img src=x>"))
    match = re.search(r'<script type="application/json" id="plots">(.*?)</script>', html, re.DOTALL)
    assert match
    assert len(json.loads(match[1])) == 6
    assert "img" not in Structure(html).tags


def test_nothing_is_fetched() -> None:
    fetched = Structure(rendered(make_results())).fetched
    assert fetched
    assert [url for url in fetched if not url.startswith(("#", "data:"))] == []


def test_the_page_contains_plotly_once() -> None:
    html = rendered(make_results())
    assert html.count("* plotly.js (basic - minified) v") == 1
    assert len(html.encode()) < 1_500_000


def test_tables_and_text_are_static() -> None:
    results = make_results(diverged={"Adam": (1,)})
    structure = Structure(rendered(results))
    assert structure.tags.count("table") == 9
    assert structure.tags.count("caption") == 9
    assert structure.tags.count("figure") == structure.tags.count("figcaption") == 6
    assert structure.tags.count("h1") == 1
    assert any("1 of 10 runs diverged" in text for text in structure.text["li"])
    assert any("Smallest budget of epochs" in text for text in structure.text["dd"])


def test_the_same_results_give_the_same_page() -> None:
    assert rendered(make_results()) == rendered(make_results())
