"""What the site's build adds to the pages in this folder: those that the code's own data write, and formulas."""

import html
import re
from pathlib import Path

import generated
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from plotly.offline import get_plotlyjs

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    theory = Path(config.extra["theory"])
    if not (theory / "theory.json").is_file():
        raise PluginError(
            f"no theory.json in {theory}: make docs writes it, and so does steadystep theory --figures DIR"
        )
    results = Path(config.docs_dir) / "results"
    pages = {
        **generated.theory_pages(theory),
        **generated.optimizer_pages(),
        "audit.md": generated.audit_page(theory, results),
        "results/index.md": generated.results_page(results),
        "reference/command-line.md": generated.command_line_page(),
        "assets/plotly.min.js": get_plotlyjs(),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_content(content: str, page: Page, **kwargs: object) -> str:
    """Formulas as MathML, which browsers show by themselves."""

    def as_mathml(match: re.Match[str]) -> str:
        element, formula = match[1], html.unescape(match[2]).strip()
        try:
            mathml = convert(formula, display="block" if element == "div" else "inline")
        except Exception as error:  # noqa: BLE001 - latex2mathml's errors have no common base
            raise PluginError(f"{page.file.src_uri}: the formula {formula!r} is not LaTeX: {error!r}") from error
        return f'<{element} class="formula">{mathml}</{element}>'

    return _FORMULA.sub(as_mathml, content)
