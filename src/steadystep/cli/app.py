"""The subcommands and their error handling: one line on stderr, and exit code 2 for errors that the user can fix."""

import sys

import typer
from typer.exceptions import TyperException

from steadystep import __version__
from steadystep.cli.audit import audit
from steadystep.cli.box import box
from steadystep.cli.compare import compare
from steadystep.cli.cost import cost
from steadystep.cli.doctor import doctor
from steadystep.cli.optimizers import optimizers
from steadystep.cli.ranks import LOST, RanksNeeded, launch
from steadystep.cli.report import report
from steadystep.cli.reproduce import reproduce
from steadystep.cli.room import LISTS, TRAINING, with_room
from steadystep.cli.stability import stability
from steadystep.cli.success import success
from steadystep.cli.tasks import tasks
from steadystep.cli.theory import theory
from steadystep.cli.verify import verify
from steadystep.lab.system.torchrun import place

app = typer.Typer(
    name="steadystep",
    help="Optimizers with gradient clipping inside a guarded step, and studies of what keeps training stable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    reproduce,
    compare,
    stability,
    success,
    cost,
    verify,
    doctor,
    report,
    tasks,
    optimizers,
    theory,
    audit,
    box,
):
    room = LISTS if command in (tasks, optimizers, box) else TRAINING
    app.command()(with_room(command, room))  # pyright: ignore[reportArgumentType]


def _print_version(requested: bool) -> None:
    if requested:
        print(f"steadystep {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def run() -> int:
    """Run the command, print its error, and return its exit code, which is 2 for errors that the user can fix."""
    code, message = outcome()
    if message:
        here = place()
        who = f", rank {here.rank}" if here and here.rank > 0 else ""
        print(f"steadystep{who}: {message}", file=sys.stderr)
    return code


def outcome() -> tuple[int, str]:
    """Run the command and return its exit code, and the error as one line, or an empty text."""
    from steadystep.lab.errors import LostRankError, UserError
    from steadystep.lab.system.scarcity import scarcity_as_user_error

    try:
        with scarcity_as_user_error():
            code = app(standalone_mode=False, prog_name="steadystep")
    except RanksNeeded as needed:
        return launch(needed.ranks, outcome)
    except LostRankError as error:
        return LOST, str(error)
    except UserError as error:
        return 2, str(error)
    except TyperException as error:  # an unknown option or an invalid value
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "steadystep"
        message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
        return 2, f"{message}; see `{command} --help`" if message else ""  # --help itself has no message
    return (code if isinstance(code, int) else 0), ""
