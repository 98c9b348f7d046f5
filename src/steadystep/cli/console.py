"""The consoles of the commands: of the width of the terminal, or without a limit in a file or a pipe."""

from rich.console import Console

from steadystep.lab.report.lines import NO_LIMIT
from steadystep.lab.system.torchrun import follows


def output() -> Console:
    """Return a console on standard output, whose lines are never wrapped if a program reads them.

    Of several processes of one study, the first one talks.
    """
    if follows():
        return Console(quiet=True, width=NO_LIMIT)
    console = Console()
    return console if console.is_terminal else Console(width=NO_LIMIT)
