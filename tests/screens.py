"""The stored screens of the commands. `python tests/screens.py` writes them again: read the difference afterwards."""

import io
from pathlib import Path

from rich.console import Console

from made_up_reports import SCREENS
from steadystep.lab.report.lines import NO_LIMIT
from steadystep.lab.statistics import intervals

FOLDER = Path(__file__).parent / "cli" / "screens"
WIDTHS = {"60": 60, "80": 80, "140": 140, "piped": NO_LIMIT}
FILES = {f"{screen}-{width}.txt": (screen, width) for screen in SCREENS for width in WIDTHS}


def console_of(width: int) -> Console:
    """Return a console of a terminal of this width, or of a pipe."""
    return Console(file=io.StringIO(), width=width, force_terminal=width != NO_LIMIT, color_system=None)


def text_of(console: Console) -> str:
    """Return what was printed, without spaces at the ends of lines."""
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def screen_text(file: str) -> str:
    """Return what a file of the folder should contain."""
    screen, width = FILES[file]
    console = console_of(WIDTHS[width])
    SCREENS[screen](console)
    return text_of(console)


if __name__ == "__main__":
    intervals.RESAMPLES = 99  # no screen shows what the bootstrap finds
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    for name in FILES:
        (FOLDER / name).write_text(screen_text(name), encoding="utf-8")
