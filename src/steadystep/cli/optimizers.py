"""`steadystep optimizers`: what can be stepped with."""

import inspect

from rich.console import Console
from rich.table import Table


def optimizers() -> None:
    """List the optimizers: what each is, its defaults and its source."""
    from steadystep.optimizers import OPTIMIZERS

    table = Table("optimizer", "what", "defaults", box=None, pad_edge=False, header_style="bold")
    for name, optimizer in OPTIMIZERS.items():
        parameters = inspect.signature(optimizer).parameters.values()
        defaults = [f"{p.name} {p.default}" for p in parameters if p.default is not inspect.Parameter.empty]
        what = (inspect.getdoc(optimizer) or "").splitlines()[0]
        table.add_row(name, what, ", ".join(defaults))
    Console().print(table)
