"""Run a study from Python: the functions behind `steadystep reproduce` and `steadystep compare`, without a terminal."""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from pydantic import InstanceOf
from rich.console import Console

from steadystep.lab.choices import Precision, Schedule, Where
from steadystep.lab.data.checked_call import checked
from steadystep.lab.data.load import load
from steadystep.lab.data.study_data import StudyData
from steadystep.lab.errors import UserError
from steadystep.lab.execution.cluster import find_cluster
from steadystep.lab.execution.observer import Silent
from steadystep.lab.execution.run_study import run_study
from steadystep.lab.execution.study_precision import in_precision
from steadystep.lab.progress.observers import observe
from steadystep.lab.report.write import write_report
from steadystep.lab.sinks.choose import open_destinations
from steadystep.lab.sinks.observer import Logged
from steadystep.lab.study.command import command_line, folder_for
from steadystep.lab.study.compare import comparison
from steadystep.lab.study.explain import one_line_errors
from steadystep.lab.study.spec import Study, load_study, study_for
from steadystep.lab.system.atomic import check_folder
from steadystep.lab.system.torchrun import follows
from steadystep.lab.tasks import find_task
from steadystep.lab.tasks.fields import Count
from steadystep.lab.tasks.task import Task


@checked
def compare(
    task: str | InstanceOf[Task] = "digits-mlp",
    arms: str | Sequence[str] = ("adam", "adam+norm"),
    *,
    settings: Count = 4,
    seeds: Count | Literal["auto"] | None = None,
    epochs: Count | None = None,
    schedule: Schedule | None = None,
    out: str | Path | None = None,
    data: str | Path | None = None,
    workers: Count = 2,
    executor: Where = "processes",
    address: str | None = None,
    num_gpus: float | None = None,
    replicas: Count | None = None,
    dtype: Precision | None = None,
    device: str | None = None,
    log: str | Sequence[str] = (),
    progress: bool = False,
) -> StudyData:
    """Tune all arms equally, run them on paired seeds, and return the study, as `steadystep compare` does.

    The same call resumes a study that was stopped, and only reads one that is finished. The folder gets the same files
    as from the command.

    Args:
        task: The name of a task, see `steadystep tasks`, or a task of your own. Workers must be able to import what the
            latter consists of.
        arms: Optimizers with or without a clipper, such as ``["sgd", "adam+norm", "adam@1e-4:1e-1"]``.
        settings: Settings tried for each arm, an even number. Default 4.
        seeds: Paired seeds per arm, or "auto": more of them until every pair is decided. Default: the task's.
        epochs: Epochs of each run. Default: the task's largest budget.
        schedule: Learning-rate schedule: "cosine", "constant" or "triangle". Default: the task's.
        out: Folder for records and report. Default: ``studies/TASK-compared``.
        data: Folder with local data sets. Default: ``$STEADYSTEP_DATA``.
        workers: Trials that run at the same time, one thread each. Default 2.
        executor: "processes": worker processes of this machine; "ray": tasks of a Ray cluster. Default "processes".
        address: With "ray": the address of a running cluster. Default: ``$RAY_ADDRESS``, otherwise a cluster with as
            many CPUs as there are workers is started here for the study.
        num_gpus: With "ray" on "cuda": the share of a GPU that a trial takes. Default 1.
        replicas: Trials of one arm that are trained side by side; 1: each trial alone. Default: the task's.
        dtype: "float32" or "bfloat16". Default: that of the study in the folder, or the faster one on this machine.
        device: "cpu", "cuda" or "cuda:N". Default: the CPU.
        log: Trackers that get every finished run: "tensorboard:DIR", "wandb[:PROJECT]" or "mlflow[:URI]", one or
            several. Default: none.
        progress: Whether to show the progress: bars in a terminal, lines in a notebook. Default: nothing is printed.

    Raises:
        UserError: if an argument is invalid, data are missing, or the folder cannot be written or contains another
            study. The message is one line.
        KeyboardInterrupt: on Ctrl-C; the same call resumes the study.
    """
    chosen = find_task(task) if isinstance(task, str) else task
    names = arms if isinstance(arms, str) else ",".join(arms)
    study = comparison(chosen, names, settings=settings, seeds=seeds, epochs=epochs, schedule=schedule)
    how = {
        "workers": workers,
        "executor": executor,
        "address": address,
        "num_gpus": num_gpus,
        "replicas": replicas,
        "dtype": dtype,
        "device": device,
        "data": data,
        "log": _listed(log),
    }
    what = {"arms": names, "settings": settings, "seeds": seeds, "epochs": epochs, "schedule": schedule}
    folder = Path(out or folder_for(chosen.name, "-compared"))
    return _run(study, chosen, folder, _again("compare", task, **what, **how, out=out), progress, **how)


@checked
def reproduce(
    task: str | InstanceOf[Task] = "digits-mlp",
    *,
    study: str | Path | InstanceOf[Study] | None = None,
    seeds: Count | Literal["auto"] | None = None,
    epochs: Count | None = None,
    out: str | Path | None = None,
    data: str | Path | None = None,
    workers: Count = 2,
    executor: Where = "processes",
    address: str | None = None,
    num_gpus: float | None = None,
    replicas: Count | None = None,
    dtype: Precision | None = None,
    device: str | None = None,
    log: str | Sequence[str] = (),
    progress: bool = False,
) -> StudyData:
    """Run the comparison that a task declares, or a study of your own, as `steadystep reproduce` does.

    Args:
        task: The name of a task, or a task of your own. The name is not used if `study` is given, which has its own.
        study: The file of a study (YAML), or a `Study`, to run instead of the task's own comparison.
        seeds: Paired seeds per arm, or "auto": more of them until every pair is decided. Default: the task's.
        epochs: The largest budget of epochs. Default: the task's.
        out: Folder for records and report. Default: ``studies/TASK``.
        data: As for `compare`, and so are the following arguments and the errors.
        workers: Trials that run at the same time.
        executor: "processes" or "ray".
        address: The address of a running Ray cluster.
        num_gpus: The share of a GPU that a trial takes.
        replicas: Trials of one arm that are trained side by side.
        dtype: "float32" or "bfloat16".
        device: "cpu", "cuda" or "cuda:N".
        log: Trackers that get every finished run.
        progress: Whether to show the progress.
    """
    if study is not None and (seeds is not None or epochs is not None):
        raise UserError("a study declares its own seeds and budgets: leave out seeds and epochs")
    declared = load_study(Path(study)) if isinstance(study, str | Path) else study
    chosen = find_task(declared.task if declared else task) if isinstance(task, str) else task
    if declared is None:
        with one_line_errors():
            declared = study_for(chosen, seeds=seeds, epochs=epochs)
    how = {
        "workers": workers,
        "executor": executor,
        "address": address,
        "num_gpus": num_gpus,
        "replicas": replicas,
        "dtype": dtype,
        "device": device,
        "data": data,
        "log": _listed(log),
    }
    folder = Path(out or folder_for(chosen.name))
    # The declaration that the run writes is a study file too.
    file = folder / "study.json" if isinstance(study, Study) else study
    what = {"study": file, "seeds": seeds, "epochs": epochs}
    command = _again("reproduce", None if study and isinstance(task, str) else task, **what, **how, out=out)
    return _run(declared, chosen, folder, command, progress, **how)


def _again(function: str, task: str | Task | None, **options: Any) -> str:
    """Return what runs the study again: a command or, for a task that only Python knows, a call."""
    if options["executor"] == "processes":  # the default
        options["executor"] = None
    if not isinstance(task, Task):
        return command_line(function, task=task, **{name.replace("_", "-"): value for name, value in options.items()})
    given = ", ".join(f"{name}={_plain(value)!r}" for name, value in options.items() if value is not None)
    return f"steadystep.lab.{function}({task.name}, {given})"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _listed(log: str | Sequence[str]) -> list[str] | None:
    return ([log] if isinstance(log, str) else list(log)) or None


def _run(
    study: Study,
    task: Task,
    folder: Path,
    command: str,
    progress: bool,
    *,
    workers: int,
    executor: Where,
    address: str | None,
    num_gpus: float | None,
    replicas: int | None,
    dtype: Precision | None,
    device: str | None,
    data: str | Path | None,
    log: list[str] | None,
) -> StudyData:
    """Run the missing trials, write the report and read the study."""
    cluster = find_cluster(executor, address, num_gpus, device)
    destinations = open_destinations(log or ())
    check_folder(folder)
    local, console = None if data is None else Path(data), Console(quiet=not progress)
    study = in_precision(study, task, dtype, local, folder, device, console.print, cluster)
    with observe(study.declared_epochs, console) if progress else nullcontext(Warnings()) as observer:
        logged = Logged(observer, destinations, study.arms)
        run_study(study, task, local, folder, workers, logged, replicas=replicas, device=device, cluster=cluster)
    read = load(folder, task=task)
    if not follows():  # of several processes that torchrun started, the first one writes
        write_report(read.results, read.summary, folder, command)
    return read


class Warnings(Silent):
    """An observer that turns warnings into Python's and ignores all other events."""

    def warning(self, text: str) -> None:
        """Warn."""
        warnings.warn(text, stacklevel=2)
