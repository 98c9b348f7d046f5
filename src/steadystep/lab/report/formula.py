"""Turn the formulas of a docstring into text that a terminal can show."""

import re
from functools import cache
from typing import Any

from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db

_SUBSCRIPTS = str.maketrans("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ")
_SUPERSCRIPTS = str.maketrans("0123456789+-=()t", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵗ")
_BLOCK = re.compile(r"\.\. math::(.*\n(?:    .*\n|\n)*)")
_COMMAND = re.compile(r"\\[a-zA-Z]+(?:\{[^{}]*\})*")
_SCRIPT = re.compile(r"([_^])(?:\{([^{}]*)\}|([^\s{}\\]))")
_SYMBOL = re.compile(r"((?<![\w`])[a-zA-Z]|\\[a-zA-Z]+)((?:[_^](?:\{[^{}]*\}|\w)(?!\w))+)")
"""A symbol among words, such as g_t or \\beta_1, and not a name such as weight_decay."""

_QUAD = re.compile(r"\s*\\quad\s*")


def docstring_as_text(docstring: str) -> str:
    r"""Return a docstring in which the formulas, and the symbols among the words, are plain text.

    >>> print(docstring_as_text("The step.\n\n.. math:: x_t = \\frac{a + b}{\\sqrt{c}}\n\nThe mean \\mu_1."))
    The step.
    <BLANKLINE>
        xₜ = (a + b)/√(c)
    <BLANKLINE>
    The mean μ₁.
    """
    shown = _BLOCK.sub(lambda block: f"{_equations(block[1])}\n\n", docstring)
    return _COMMAND.sub(lambda command: _text(command[0]), _with_scripts_of_symbols(shown))


def _equations(latex: str) -> str:
    """Return the equations of a block, one in a line."""
    lines = _QUAD.split(" ".join(latex.split()))
    return "\n".join(f"    {_text(line).rstrip(', ')}" for line in lines if line)


def _text(latex: str) -> str:
    latex = re.sub(r"\\tfrac(\d)(\d)", r"\\frac{\1}{\2}", latex)
    latex = re.sub(r"\\(?:[bB]ig[lr]?|left|right)(?![a-z])", "", latex)
    return _converter().latex_to_text(_SCRIPT.sub(_script, latex)).strip()


def _with_scripts_of_symbols(text: str) -> str:
    return _SYMBOL.sub(lambda symbol: symbol[1] + _SCRIPT.sub(_script, symbol[2]).replace("{}", ""), text)


def _script(match: re.Match[str]) -> str:
    return _raised(match[1], match[2] if match[2] is not None else match[3])


def _raised(kind: str, content: str) -> str:
    """Return an index or a power in raised or lowered characters, or in brackets where there are none."""
    table = _SUBSCRIPTS if kind == "_" else _SUPERSCRIPTS
    if all(ord(character) in table for character in content.replace(" ", "")):
        return "{}" + content.replace(" ", "").translate(table)
    return f"{kind}({content})" if len(content) > 1 else f"{kind}{content}"


@cache
def _converter() -> LatexNodes2Text:
    symbols = get_default_latex_context_db()
    symbols.add_context_category(
        "steadystep",
        prepend=True,
        macros=[
            MacroTextSpec("frac", simplify_repl=_fraction),
            MacroTextSpec("sqrt", simplify_repl=_root),
        ],
    )
    return LatexNodes2Text(latex_context=symbols, math_mode="text")


def _fraction(node: Any, l2tobj: LatexNodes2Text) -> str:
    return "/".join(_in_brackets(_argument(node, place, l2tobj)) for place in (0, 1))


def _root(node: Any, l2tobj: LatexNodes2Text) -> str:
    return f"√({_argument(node, 1, l2tobj)})"


def _argument(node: Any, place: int, converter: LatexNodes2Text) -> str:
    return converter.nodelist_to_text([node.nodeargd.argnlist[place]])


def _in_brackets(text: str) -> str:
    """Return a term as it can stand beside a division sign: a single symbol, a root or a norm needs no brackets."""
    return text if re.fullmatch(r".[₀-₉ₐ-ₜ⁰-ⁿ₊₋⁺⁻ᵗ²³̂']*|√\([^()]*\)|‖[^‖]*‖", text) else f"({text})"
