"""Read the runs of a study from its folder, whether the study is finished or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steadystep.lab.errors import UserError
from steadystep.lab.execution.seen_results import with_test_seen
from steadystep.lab.execution.stage_runner import stored_records
from steadystep.lab.execution.store import Store, Warn
from steadystep.lab.statistics.verdicts import undecided_arms
from steadystep.lab.study.records import Cell, Results, Run
from steadystep.lab.study.spec import Study
from steadystep.lab.study.stages import run_stages
from steadystep.lab.tasks import find_task
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Trial


class UnfinishedStudyError(UserError):
    """The results were requested before all trials were run."""


@dataclass(frozen=True)
class StoredRuns:
    """The runs of a study that have a record, in the order of the plan, and its results.

    For an unfinished study, `outcome` is a line that says which records are missing.
    """

    study: Study
    task: Task
    runs: tuple[Run, ...]
    outcome: Results | str

    @property
    def results(self) -> Results:
        """The results of the finished study.

        Raises:
            UnfinishedStudyError: if trials have no record.
        """
        if isinstance(self.outcome, str):
            raise UnfinishedStudyError(self.outcome)
        return self.outcome


def stored_runs(folder: Path, warn: Warn, task: Task | None = None) -> StoredRuns:
    """Read the stored runs of every stage up to the first unfinished one, which the stages after it depend on.

    Args:
        folder: The folder of the study.
        warn: Called with a line for every invalid record, which counts as not run.
        task: The task of the study. Default: the one that has the name in study.json.

    Raises:
        BrokenStudyError: if the folder has no valid study.json.
        UnknownTaskError: if the study's task does not exist.
        UserError: if the task is another one, or of another version.
    """
    store = Store(folder, warn)
    declared = store.declared()
    task = task or find_task(declared.study.task)
    if task.name != declared.study.task:
        raise UserError(f"{folder} contains a study of the task {declared.study.task!r}, and {task.name!r} is given")
    if task.version != declared.task_version:
        raise UserError(
            f"{folder} was run with version {declared.task_version} of {task.name}, and this is version "
            f"{task.version}: its records cannot be read as results of this one"
        )
    plan: list[tuple[Cell, Sequence[Trial]]] = []
    found: dict[str, Record] = {}

    def read_stage(stage: str, trials: Sequence[Trial]) -> Mapping[str, Record]:
        records = stored_records(store, trials)
        found.update(records)
        if len(records) < len({trial.id for trial in trials}):
            raise UnfinishedStudyError(
                f"{folder} is not finished: {len(records)} of {len(trials)} trials of the stage '{stage}' have "
                "a record; run `steadystep reproduce` with the same options to finish the study"
            )
        return records

    try:
        results = run_stages(
            declared.study,
            task,
            declared.data,
            read_stage,
            undecided_arms,
            lambda cell, trials: plan.append((cell, trials)),
        )
        outcome = with_test_seen(results, store)
    except UnfinishedStudyError as error:
        outcome = str(error)
    runs = [Run(*cell, found[trial.id]) for cell, trials in plan for trial in trials if trial.id in found]
    return StoredRuns(declared.study, task, tuple(runs), outcome)
