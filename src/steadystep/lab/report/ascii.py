"""Text for a terminal that shows ASCII alone."""

from rich.console import Console
from rich.text import Text

ASCII = str.maketrans(
    {
        "±": "+/-", "−": "-", "–": "-", "✓": "+", "✗": "x", "√": "sqrt ", "²": "^2", "³": "^3", "⁴": "^4", "⁵": "^5",
        "⁶": "^6", "⁻": "^-", "·": "*", "α": "alpha", "β": "beta", "γ": "gamma", "ε": "eps", "ζ": "zeta", "λ": "lambda",
        "μ": "mu", "σ": "sigma", "Γ": "Gamma", "₁": "1", "₂": "2", "≤": "<=", "≠": "!=", "≥": ">=", "“": '"', "”": '"',
        "é": "e",
    }
)  # fmt: skip


def shown(words: str, console: Console, style: str = "") -> Text:
    """The words as text without markup, in ASCII where the console knows no more."""
    if console.options.ascii_only:
        words = words.translate(ASCII).encode("ascii", "replace").decode()
    return Text(words, style)
