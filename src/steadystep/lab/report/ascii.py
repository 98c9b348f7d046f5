"""Text for a terminal that can show only ASCII."""

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


def console_text(text: str, console: Console, style: str = "") -> Text:
    """Return text without markup, transliterated to ASCII if the console cannot show more."""
    if console.options.ascii_only:
        text = text.translate(ASCII).encode("ascii", "replace").decode()
    return Text(text, style)
