"""Convert text with LaTeX between dollar signs to HTML with MathML, which browsers render without scripts."""

from latex2mathml.converter import convert
from markupsafe import Markup, escape


def mathematics(text: str) -> Markup:
    """Return the text, escaped, with its formulas in MathML.

    >>> mathematics("a < $b$")
    Markup('a &lt; <math xmlns="http://www.w3.org/1998/Math/MathML" display="inline"><mrow><mi>b</mi></mrow></math>')
    """
    parts = text.split("$")
    if len(parts) % 2 == 0:
        raise ValueError(f"a dollar sign has no partner in {text!r}: write formulas between two dollar signs")
    pieces = [Markup(convert(part)) if i % 2 else escape(part) for i, part in enumerate(parts)]
    return Markup("").join(pieces)
