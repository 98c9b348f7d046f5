"""Options shared by several commands."""

from pathlib import Path
from typing import Annotated, Any

import typer

from steadystep.lab.choices import Precision, Where

Workers = Annotated[int, typer.Option(min=1, help="Number of trials that run at the same time, one thread each.")]
Executor = Annotated[
    Where,
    typer.Option(
        help="processes: worker processes of this machine; ray: tasks of a Ray cluster, or of one with --workers CPUs "
        "that is started here (needs the extra ray)."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="With --executor ray: the address of a running cluster, such as auto or HOST:6379. (default: $RAY_ADDRESS)"
    ),
]
NumGpus = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="With --executor ray --device cuda: the share of a GPU that a trial takes; 0.25 runs four trials on each. "
        "(default: 1)",
    ),
]
Ranks = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of processes that train each trial together, each on its part of every batch; as with torchrun. "
        "(default: 1)",
    ),
]
Replicas = Annotated[
    int | None,
    typer.Option(
        min=1, help="Number of trials of one arm to train side by side; 1: each trial alone. (default: the task's)"
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder of local data sets, with the files of the Hugging Face Hub. (default: $STEADYSTEP_DATA)"),
]
Dtype = Annotated[
    Precision | None,
    typer.Option(help="float32, or bfloat16 autocast. (default: that of the study, or the faster one on this machine)"),
]
Device = Annotated[
    str | None, typer.Option(help="Device to train on: cpu, cuda, or cuda:N for one of several GPUs. (default: cpu)")
]
Open = Annotated[bool, typer.Option("--open", help="Open the page of the report in a browser at the end.")]
Yes = Annotated[bool, typer.Option("--yes", help="Start without asking, even if it takes more than a day.")]
Log = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TRACKER",
        help="Write each finished trial to tensorboard:DIR, wandb, wandb:PROJECT, mlflow or mlflow:URI; may be "
        "repeated.",
    ),
]


def _seeds(text: str) -> int | str:
    """Return a number of seeds, or "auto"."""
    if text.lower() == "auto":
        return "auto"
    try:
        seeds = int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a valid integer nor auto") from None
    if seeds < 1:
        raise typer.BadParameter(f"it should be auto or greater than or equal to 1, and is {seeds}")
    return seeds


Seeds = Annotated[
    Any,
    typer.Option(
        parser=_seeds,
        metavar="NUMBER|auto",
        help="Paired seeds per arm; auto: more of them until every pair is decided. (default: the task's)",
    ),
]
