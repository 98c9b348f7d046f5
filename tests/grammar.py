"""Rules that every sentence with measured numbers obeys, whatever the numbers are."""

import re

ONE = (
    "run|seed|epoch|pair|decade|point|rate|arm|length|update|unit|thread|core|round|worker|setting|budget|row|claim|hour|"
    "minute|interval|replica|parameter"
)

RULES = {
    "a plural after 1": rf"(?<![\w.,−-])1 (?:[a-z]+ ){{0,2}}?(?:{ONE})s\b",
    "a singular after another number": rf"(?<![\w.,−-])(?:0|[2-9]|\d\d+) (?:{ONE})\b",
    "a number instead of itself": r"(?<![\w.])(\S+) instead of \1(?![\w.])",
    "from a thing to itself": r"\bfrom ([^();,]+?)(?: \([^)]*\))? to \1(?= \(|[;,]|\.(?!\d)|$)",
    "a number to itself": r"(?<![\w.−+-])([\d.e−+-]+%?) to \1(?![\w.%])",
    "a number that does not exist": r"(?i)\b(?:nan|inf|none|null)\b(?! of | diverged| without| with| was| \d)",
    "a number without a value": r"–(?:%| points| ms| decades)",
    "a repeated word": r"\b([a-z]+) \1\b",
    "empty brackets": r"\(\s*\)|\[\s*\]",
    "punctuation after a space": r" [,;.:](?!\d)",
    "two marks in a row": r"[;,:][;,.:]|\.\.",
    "an interval beyond 100%": r"[\[ +−](?:100\.\d*[1-9]\d*|10[1-9]\.\d+|1[1-9]\d\.\d+|[2-9]\d\d\.\d+)\]",
}


def broken_rules(text: str) -> list[str]:
    """Return the rules that a text breaks, each with the place."""
    found = ((name, re.search(rule, text)) for name, rule in RULES.items())
    return [f"{name}: {text[max(0, at.start() - 30) : at.end() + 30]!r}" for name, at in found if at]


def assert_sentence(text: str) -> None:
    """Check that a text is a sentence, or several, and breaks no rule."""
    assert not (broken := broken_rules(text)), broken
    assert text.endswith(".") and "  " not in text, text
