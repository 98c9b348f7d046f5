"""`steadystep optimizers`: what can be stepped with, from the optimizers' own documentation."""

import inspect
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def optimizers(
    name: Annotated[str | None, typer.Argument(help="One optimizer, to read all about it.")] = None,
) -> None:
    """List the optimizers with their variants and defaults; or one with its equation, source and arguments."""
    from steadystep.lab.named import optimizer_named
    from steadystep.optimizers import OPTIMIZERS

    console = Console()
    if name is not None:
        name = optimizer_named(name)
        optimizer = OPTIMIZERS[name]
        console.print(f"steadystep.{name}{_signature(optimizer)}", style="bold", markup=False, highlight=False)
        console.print(f"\n{inspect.getdoc(optimizer)}", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table("optimizer", "what", "variants, the default first", "defaults", box=None, pad_edge=False)
    for title, optimizer in OPTIMIZERS.items():
        parameters = inspect.signature(optimizer).parameters.values()
        defaults = [f"{p.name} {p.default}" for p in parameters if p.default is not inspect.Parameter.empty]
        what = (inspect.getdoc(optimizer) or "").splitlines()[0]
        table.add_row(title, what, ", ".join(optimizer.variants), ", ".join(defaults))
    console.print(table)
    console.print("\n`steadystep optimizers NAME` gives the equation, the source and the arguments.", highlight=False)


def _signature(optimizer: type) -> str:
    parts = [
        str(p.replace(annotation=inspect.Parameter.empty)) for p in inspect.signature(optimizer).parameters.values()
    ]
    return f"({', '.join(parts)})"
