"""Generated pages and sections are up to date, and the code blocks of the documentation run."""

import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "index.md",
    ROOT / "docs" / "tutorial.md",
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, int]]:
    """Return the Python blocks of a page, each with the number of lines before it."""
    text = page.read_text()
    return [(match[1], text[: match.start(1)].count("\n")) for match in BLOCK.finditer(text)]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run all blocks of a page in one namespace; a block with an interactive session must show its output."""
    monkeypatch.chdir(tmp_path)
    model = torch.nn.Linear(4, 1)
    namespace = {"__name__": page.stem, "model": model, "loss": model(torch.ones(2, 4)).sum()}
    if page.name != "README.md":
        namespace = {"__name__": page.stem}
    for source, line in blocks(page):
        if source.startswith(">>>"):
            session = doctest.DocTestParser().get_doctest(source, namespace, page.name, str(page), line)
            report: list[str] = []
            failed = doctest.DocTestRunner().run(session, out=report.append, clear_globs=False).failed
            assert not failed, "".join(report)
            namespace.update(session.globs)
        else:
            exec(compile("\n" * line + source, str(page), "exec"), namespace)


def test_every_how_to_is_in_the_menu_and_in_the_list() -> None:
    menu, index = (ROOT / "mkdocs.yml").read_text(), (ROOT / "docs" / "how-to" / "index.md").read_text()
    for page in (ROOT / "docs" / "how-to").glob("*.md"):
        if page.stem != "index":
            assert f"how-to/{page.name}" in menu
            assert f"]({page.name})" in index


def script(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_measured_parts_of_the_readme_are_up_to_date() -> None:
    assert script("publish").readme() == (ROOT / "README.md").read_text()


def test_the_page_which_adam_is_up_to_date() -> None:
    assert script("write_which_adam").page() == (ROOT / "docs" / "which-adam.md").read_text()


def test_the_glossary_is_up_to_date() -> None:
    assert script("write_glossary").page() == (ROOT / "docs" / "glossary.md").read_text()


def test_the_plan_of_a_large_study_is_up_to_date() -> None:
    page = ROOT / "docs" / "how-large.md"
    assert script("write_how_large").page() == page.read_text()
    assert page.name in (ROOT / "mkdocs.yml").read_text()


def test_the_page_about_a_planted_nan_is_up_to_date() -> None:
    page = ROOT / "docs" / "reference" / "planted-nan.md"
    assert script("write_planted_nan").page() == page.read_text()
    assert f"reference/{page.name}" in (ROOT / "mkdocs.yml").read_text()


def test_the_differences_from_torch_are_up_to_date() -> None:
    page = ROOT / "docs" / "reference" / "differences-from-torch.md"
    assert script("write_differences").page() == page.read_text()
    assert f"reference/{page.name}" in (ROOT / "mkdocs.yml").read_text()


def test_the_doctor_still_says_what_the_readme_shows() -> None:
    """Losses differ in their last digits between machines; the culprit, the sentence and the fix do not."""
    write = script("write_doctor")
    fresh = write.said().splitlines()[-3:]
    assert fresh[0].startswith("Culprit: ") and fresh[2].startswith("Fix: ")
    for page in write.PAGES:
        shown = write.BLOCK.search(page.read_text(encoding="utf-8"))
        assert shown is not None and all(line in shown[0] for line in fresh), page
