"""`steadystep optimizers`: list the optimizers, from their docstrings."""

import inspect
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def optimizers(
    name: Annotated[str | None, typer.Argument(help="An optimizer whose documentation to print.")] = None,
) -> None:
    """List the optimizers with their variants and defaults, or print one with its equation, source and arguments."""
    from steadystep.lab.tasks.names import resolve_optimizer
    from steadystep.optimizers import OPTIMIZERS

    console = Console()
    if name is not None:
        name = resolve_optimizer(name)
        optimizer = OPTIMIZERS[name]
        console.print(f"steadystep.{name}{_signature(optimizer)}", style="bold", markup=False, highlight=False)
        console.print(f"\n{inspect.getdoc(optimizer)}", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table("optimizer", "description", "variants, the default first", "defaults", box=None, pad_edge=False)
    for title, optimizer in OPTIMIZERS.items():
        parameters = inspect.signature(optimizer).parameters.values()
        defaults = [f"{p.name} {p.default}" for p in parameters if p.default is not inspect.Parameter.empty]
        description = (inspect.getdoc(optimizer) or "").splitlines()[0]
        table.add_row(title, description, ", ".join(optimizer.variants), ", ".join(defaults))
    console.print(table)
    console.print("\n`steadystep optimizers NAME` prints the equation, the source and the arguments.", highlight=False)


def _signature(optimizer: type) -> str:
    parts = [
        str(p.replace(annotation=inspect.Parameter.empty)) for p in inspect.signature(optimizer).parameters.values()
    ]
    return f"({', '.join(parts)})"
