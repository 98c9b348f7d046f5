"""The table of the optimizers, made from their docstrings and signatures."""

import inspect
from collections.abc import Mapping

from steadystep.lab.report.table import Column, Table
from steadystep.optimizers import Optimizer


def optimizers_table(optimizers: Mapping[str, type[Optimizer]]) -> Table:
    """Return one row per optimizer, with the arguments that not all of them have."""
    arguments = {name: inspect.signature(optimizer).parameters for name, optimizer in optimizers.items()}
    # A dictionary, because it keeps the order of the arguments.
    shared = dict.fromkeys(
        parameter.name
        for parameters in arguments.values()
        for parameter in parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name != "variant"
    )
    rows = []
    for name, optimizer in optimizers.items():
        defaults = [
            f"{parameter.name} {parameter.default}"
            for parameter in arguments[name].values()
            if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
            and parameter.default is not inspect.Parameter.empty
        ]
        description = (inspect.getdoc(optimizer) or "").splitlines()[0]
        rows.append([name, description, ", ".join(optimizer.variants), ", ".join(defaults)])
    return Table.of(
        "Optimizers",
        [
            Column("Optimizer"),
            Column("Description", kind="prose"),
            Column("Variants", kind="prose", meaning="the first is the default"),
            Column("Defaults", kind="prose"),
        ],
        rows,
        f"All also take {', '.join(shared)}. `steadystep optimizers NAME` shows one in full.",
    )
