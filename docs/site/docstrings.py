"""Convert docstrings, which are written for a terminal, to the Markdown of the site: formulas, code and doctests."""

import re
from typing import Any

import griffe

# A LaTeX command or a letter with an index. Outside of math blocks, these are formulas too.
_ARGUMENT = r"(?:\{[^{}]*\}|\w|\\[a-zA-Z]+)"
_PIECE = rf"(?:\\(?:hat|sqrt) \w|\\[a-zA-Z]+(?:\{{[^{{}}]*\}})*|(?<![\w\\])[A-Za-z](?=[_^]))(?:[_^]{_ARGUMENT})*"


def markdown(docstring: str) -> str:
    r"""Convert a docstring of this package to Markdown.

    >>> print(markdown("Adds \\epsilon to ``v``.\n\n.. math::\n    a \\\\\n    b\n\nwith ``w``."))
    Adds $\epsilon$ to `v`.
    <BLANKLINE>
    $$
    a \\
    b
    $$
    <BLANKLINE>
    with `w`.
    """
    done: list[str] = []
    closing, indent = "", ""
    for line in docstring.replace("``", "`").splitlines():
        text, margin = line.strip(), line[: len(line) - len(line.lstrip())]
        if closing == "$$" and text and len(margin) <= len(indent):
            while not done[-1]:
                done.pop()
            done += [indent + "$$", ""]
            closing = ""
        if closing == "```" and not text:
            done.append(indent + "```")
            closing = ""
        if text.startswith(".. math::"):
            formula = text.removeprefix(".. math::").strip()
            done += [
                *([""] if done and done[-1].strip() else []),
                margin + "$$",
                *([margin + formula] if formula else []),
            ]
            closing, indent = "$$", margin
        elif text.startswith(">>>") and not closing:
            done += [margin + "```pycon", line]
            closing, indent = "```", margin
        elif closing == "$$":
            done += [indent + text] if text else []
        else:
            done.append(line if closing else _with_formulas(line))
    return "\n".join([*done, *([indent + closing] if closing else [])])


def _with_formulas(line: str) -> str:
    code_apart = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else re.sub(_PIECE, r"$\g<0>$", part) for part in code_apart)


class Docstrings(griffe.Extension):
    """Griffe extension that converts docstrings before they are parsed."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
