"""The command `steadystep`. One command a file; nothing heavy is imported before it is needed."""

import sys

_INSTALL = "steadystep: the command needs the lab extra ({name} is missing): pip install 'steadystep[lab]'"


def main() -> None:
    """Run the command line. A missing part of the `lab` extra is one line, no traceback."""
    try:
        from steadystep.cli.app import run

        sys.exit(run())
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("steadystep"):
            raise
        print(_INSTALL.format(name=error.name), file=sys.stderr)
        sys.exit(2)
