"""The blocks of the documentation that programs write."""

import json
import re
from pathlib import Path
from typing import Any

from steadystep.lab.system.atomic import write_atomic


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


def publish(found: dict[str, Any], results: Path, sentence: str, page: Path, name: str, writer: str) -> None:
    """Write what a benchmark has found to its file, and the sentence about it to a block of a page and the terminal."""
    write_atomic(results, json.dumps(found, indent=1).encode())
    write_atomic(page, with_block(page.read_text(encoding="utf-8"), name, writer, sentence).encode())
    print(sentence)
