"""The command `steadystep`. Each subcommand has its own file, and slow imports are deferred until they are needed."""

import sys

_INSTALL = "steadystep: the command requires the lab extra ({name} is missing): pip install 'steadystep[lab]'"


def main() -> None:
    """Run the command line. If a package of the `lab` extra is missing, print one line instead of a traceback.

    The same goes for a machine on which not even the command line can be imported for want of memory.
    """
    try:
        from steadystep.cli.app import run

        sys.exit(run())
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("steadystep"):
            raise
        print(_INSTALL.format(name=error.name), file=sys.stderr)
        sys.exit(2)
    except (ImportError, MemoryError) as error:
        from steadystep.lab.system.scarcity import scarce, scarcity_message

        what = scarce(error)
        if what is None:
            raise
        print(f"steadystep: {scarcity_message(what)}", file=sys.stderr)
        sys.exit(2)
