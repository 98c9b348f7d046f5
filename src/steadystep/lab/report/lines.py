"""Print text in a terminal, wrapped between words, without breaking a name such as "Adam + norm"."""

import re

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from steadystep.lab.report.ascii import console_text
from steadystep.lab.report.printable import printable

NO_LIMIT = 1_000_000
"""The width of a console that writes to a file or a pipe: programs that read lines need whole ones."""

_WORD = re.compile(r"(?:(?<=\w) \+ (?=\w)|\S)+\s*")
"""A word and the space after it. The spaces inside a name such as "Adam + norm" belong to the word."""


def say(text: str, console: Console, style: str = "", indent: int = 0) -> None:
    """Print text that may contain anything, wrapped to the width of the console."""
    say_styled(console_text(printable(text), console, style), console, indent)


def say_styled(text: Text, console: Console, indent: int = 0) -> None:
    """Print styled text, wrapped to the width of the console, with `indent` spaces before every line."""
    for line in wrapped(text, console.width - indent):
        console.print(Text(" " * indent).append_text(line), soft_wrap=True)


def wrapped(text: Text, width: int) -> list[Text]:
    """Return the lines of the text. A line is longer than `width` only if a single word or name is."""
    breaks, used = [], 0
    for word in _WORD.finditer(text.plain):
        if used and used + cell_len(word[0].rstrip()) > width:
            breaks.append(word.start())
            used = 0
        used += cell_len(word[0])
    lines = list(text.divide(breaks))
    for line in lines:
        line.rstrip()
    return lines
