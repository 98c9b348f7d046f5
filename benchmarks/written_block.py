"""The blocks of the documentation that programs write."""

import re


def with_block(text: str, name: str, writer: str, body: str) -> str:
    r"""Return the text of a page with another body between the markers of a block.

    >>> page = "<!-- speed: written by x.py -->\nold\n<!-- /speed -->"
    >>> with_block(page, "speed", "x.py", "new").splitlines()[1]
    'new'
    """
    first, last = f"<!-- {name}: written by {writer} -->\n", f"<!-- /{name} -->"
    pattern = re.compile(f"({re.escape(first)}).*?({re.escape(last)})", re.DOTALL)
    text, count = pattern.subn(lambda match: f"{match[1]}{body}\n{match[2]}", text)
    assert count == 1, f"the page must contain the markers of {name!r} once, but they were found {count} times"
    return text
