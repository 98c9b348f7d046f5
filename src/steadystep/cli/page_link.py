"""Print where the page of a report is, and open it in a browser."""

import webbrowser
from pathlib import Path

from rich.console import Console


def finish_with_page(page: Path, console: Console, open_page: bool) -> None:
    """Print the address of the page as the last line of a command; open it in a browser if `open_page`."""
    address = page.resolve().as_uri()
    opened = open_page and webbrowser.open(address)
    hint = "" if opened else " (no browser was found)" if open_page else " (--open opens it in a browser)"
    console.print(f"The full report: {address}{hint}", markup=False, highlight=False, soft_wrap=True)
