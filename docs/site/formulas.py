"""Convert the formulas that arithmatex marks in the HTML of a page to MathML, which browsers render natively."""

import html
import re

from latex2mathml.converter import convert

_MARKED = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_SPACE = re.compile(r"\\q?quad(?![a-zA-Z])")


class NotLatexError(ValueError):
    """An error raised if a formula cannot be converted to MathML."""


def with_mathml(content: str) -> str:
    """Return the page with its formulas in MathML. Displayed equations may wrap at a quad between them."""
    return _MARKED.sub(_as_mathml, content)


def _as_mathml(match: re.Match[str]) -> str:
    element, formula = match[1], html.unescape(match[2]).strip()
    equations = [formula] if element == "span" or "\\begin" in formula else _SPACE.split(formula)
    display = "inline" if element == "span" else "block"
    try:
        mathml = "".join(convert(equation.strip(), display=display) for equation in equations)
    except Exception as error:
        raise NotLatexError(f"the formula {formula!r} is not LaTeX: {error!r}") from error
    return f'<{element} class="formula">{mathml}</{element}>'
