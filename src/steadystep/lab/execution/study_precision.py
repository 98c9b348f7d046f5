"""Choose the precision of a study: the requested one, that of the study in the folder, or the fastest one."""

from collections.abc import Callable
from pathlib import Path

from steadystep.lab.choices import Precision
from steadystep.lab.execution.cluster import Cluster
from steadystep.lab.execution.store import Store
from steadystep.lab.study.spec import Study
from steadystep.lab.system.torchrun import place
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.device import find_device
from steadystep.lab.training.precision import fastest_precision


def in_precision(
    study: Study,
    task: Task,
    dtype: Precision | None,
    data: Path | None,
    folder: Path,
    device: str | None,
    say: Callable[[str], None],
    cluster: Cluster | None = None,
) -> Study:
    """Return the study with the requested precision, else that of the study in the folder, else the fastest.

    `say` is called with a line about a measurement. Nothing is measured for a cluster, whose nodes are other machines
    than this one, or by one of several processes, which might disagree: their studies use the precision they declare.

    Raises:
        UserError: if there is no such device, or study.json in the folder is invalid.
    """
    if dtype is None and (folder / "study.json").exists():
        dtype = Store(folder).declared().study.dtype
    if dtype is None and task.recipe.channels_last and cluster is None and place() is None:
        device_found = find_device(device)  # before loading the data, which takes long
        dtype = fastest_precision(task, task.load(data), say, device_found)
    return study.model_copy(update={"dtype": dtype or study.dtype})
