"""Docstrings, which are written for a terminal, as the Markdown that the site shows: formulas, code and doctests."""

import re
from typing import Any

import griffe

# A LaTeX command, or a letter with an index: what stands outside formulas is a formula all the same.
_ARGUMENT = r"(?:\{[^{}]*\}|\w|\\[a-zA-Z]+)"
_PIECE = rf"(?:\\(?:hat|sqrt) \w|\\[a-zA-Z]+(?:\{{[^{{}}]*\}})*|(?<![\w\\])[A-Za-z](?=[_^]))(?:[_^]{_ARGUMENT})*"


def markdown(docstring: str) -> str:
    r"""A docstring of this package as Markdown.

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
    """Rewrites docstrings before they are parsed; what they call `options` is the signature's `**options`."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            text = re.sub(r"^(\s+)options: ", r"\1**options: ", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = markdown(text)
