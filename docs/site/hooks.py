"""MkDocs hooks: add the pages that are generated from the code's data and convert formulas to MathML."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import formulas
import generated
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from steadystep.lab.report.html import PLOTLY, read_asset


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the site and to its navigation."""
    theory, results = Path(config.extra["theory"]), Path(config.docs_dir) / "results"
    if not (theory / "theory.json").is_file():
        raise PluginError(
            f"there is no theory.json in {theory}: run make docs, or steadystep theory --figures {theory}"
        )
    sections = {
        "theory/index.md": generated.theory_pages(theory),
        "reference/optimizers/index.md": generated.optimizer_pages(),
        "audit.md": {"audit.md": generated.audit_page(theory, results)},
        "reference/command-line.md": {"reference/command-line.md": generated.command_line_page()},
    }
    for pages in sections.values():
        for name, content in pages.items():
            files.append(File.generated(config, name, content=content))
    files.append(File.generated(config, "assets/plotly.min.js", content=read_asset(PLOTLY)))
    in_results = [page.relative_to(config.docs_dir).as_posix() for page in sorted(results.glob("*/*.md"))]
    config.nav = _spread(config.nav, {**sections, "results/index.md": ["results/index.md", *in_results]})
    return files


def _spread(menu: Any, sections: Mapping[str, Iterable[str]]) -> Any:
    """Return the menu with each generated section expanded into its pages, starting with its index page."""
    if isinstance(menu, list):
        return [_spread(entry, sections) for entry in menu]
    if not isinstance(menu, dict):
        return menu
    ((title, entry),) = menu.items()
    pages = list(sections.get(entry, ())) if isinstance(entry, str) else []
    if len(pages) > 1:
        return {title: [entry, *(page for page in pages if page != entry)]}
    return {title: _spread(entry, sections)}


def on_page_markdown(markdown: str, page: Page, **kwargs: object) -> None:
    """Hide the table of contents on pages with wide tables and equations, to give them its space."""
    if page.file.src_uri.startswith(("results/", "reference/optimizers/")):
        page.meta["hide"] = ["toc"]


def on_page_content(content: str, page: Page, **kwargs: object) -> str:
    """Convert the formulas of a page to MathML."""
    try:
        return formulas.with_mathml(content)
    except formulas.NotLatexError as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from error


def on_post_build(config: MkDocsConfig) -> None:
    """Write the search index as a script too, because pages opened from a folder load it as one.

    Without it, every such page would show an error. Search itself needs a server: a browser does not start a
    worker from a folder.
    """
    search = Path(config.site_dir) / "search"
    index = (search / "search_index.json").read_text(encoding="utf-8")
    (search / "search_index.js").write_text(f"var __index = {index}", encoding="utf-8")
