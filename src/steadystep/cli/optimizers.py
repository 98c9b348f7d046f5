"""`steadystep optimizers`: list the optimizers, from their docstrings."""

import inspect
from typing import Annotated

import typer


def optimizers(
    name: Annotated[str | None, typer.Argument(help="An optimizer whose documentation to print.")] = None,
) -> None:
    """List the optimizers with their variants and defaults, or print one with its equation, source and arguments."""
    from steadystep.cli.console import output
    from steadystep.lab.report.console_table import show_table
    from steadystep.lab.report.formula import docstring_as_text
    from steadystep.lab.report.lists.optimizers import optimizers_table
    from steadystep.lab.tasks.names import resolve_optimizer
    from steadystep.optimizers import OPTIMIZERS

    console = output()
    if name is not None:
        name = resolve_optimizer(name)
        optimizer = OPTIMIZERS[name]
        console.print(f"steadystep.{name}{_signature(optimizer)}", style="bold", markup=False, highlight=False)
        text = inspect.getdoc(optimizer) or ""
        # Where only ASCII can be shown, LaTeX says more than symbols that are missing.
        text = text if console.options.ascii_only else docstring_as_text(text)
        console.print(f"\n{text}", markup=False, highlight=False, soft_wrap=True)
        return
    show_table(optimizers_table(OPTIMIZERS), console)


def _signature(optimizer: type) -> str:
    parts = [
        str(p.replace(annotation=inspect.Parameter.empty)) for p in inspect.signature(optimizer).parameters.values()
    ]
    return f"({', '.join(parts)})"
