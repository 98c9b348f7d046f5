"""Options that several commands have, said once."""

from pathlib import Path
from typing import Annotated

import typer

from steadystep.lab.choices import Precision

Workers = Annotated[int, typer.Option(min=1, help="Trials that run at the same time, one thread each.")]
Replicas = Annotated[
    int | None,
    typer.Option(
        min=1, help="Trials of one arm that are trained side by side; 1: each by itself. (default: the task's)"
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder with local data sets, in the hub's layout. (default: that of STEADYSTEP_DATA)"),
]
Dtype = Annotated[
    Precision | None,
    typer.Option(help="float32, or bfloat16 autocast. (default: what the study has, or the faster one here)"),
]
Device = Annotated[
    str | None, typer.Option(help="Where models are trained: cpu, cuda, or cuda:N for one of several. (default: cpu)")
]
Seeds = Annotated[int | None, typer.Option(min=1, help="Paired seeds per arm. (default: the task's)")]
