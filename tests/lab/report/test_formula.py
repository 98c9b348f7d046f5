"""The formulas of docstrings as text for a terminal."""

import inspect
import re

import pytest

from steadystep.lab.report.formula import docstring_as_text
from steadystep.optimizers import OPTIMIZERS


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_shown_without_latex(name: str) -> None:
    docstring = inspect.getdoc(OPTIMIZERS[name]) or ""
    text = docstring_as_text(docstring)
    assert not re.search(r"\\|\.\. math|\{\}|_\{|\^\{", text), text
    words = re.compile(r"^(?:Args|Raises|>>>).*", re.MULTILINE)
    assert words.findall(text) == words.findall(docstring)


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\frac{a}{b}", "a/b"),
        (r"\frac{a + b}{c_t}", "(a + b)/cₜ"),
        (r"\frac{1}{\gamma t}", "1/(γt)"),
        (r"\frac{\lVert \theta_{t-1} \rVert}{2}", "‖θₜ₋₁ ‖/2"),
        (r"\frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t}", "√(1-β₂ᵗ)/(1-β₁ᵗ)"),
        (r"x \leftarrow \left(1 - \tfrac12\right) x", "x ←(1 - 1/2) x"),
        (r"0.96^{t \psi}", "0.96^(t ψ)"),
    ],
)
def test_formulas_keep_their_meaning(latex: str, text: str) -> None:
    assert docstring_as_text(f"Step.\n\n.. math:: {latex}\n\nEnd.") == f"Step.\n\n    {text}\n\nEnd."


def test_names_and_code_are_left_alone() -> None:
    words = "A `weight_decay` of x_train, final_lr and a_b_c; ``lr=1e-3``."
    assert docstring_as_text(words) == words
