"""The declaration of a study: the task, the arms to compare, and the budgets, which are equal for all arms."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from steadystep.lab.choices import Precision, Schedule
from steadystep.lab.errors import UserError
from steadystep.lab.study.explain import as_list, problems
from steadystep.lab.study.same_arms import refuse_same_arms
from steadystep.lab.study.until_decided import UntilDecided, doubled
from steadystep.lab.study.yaml_text import InvalidYamlError, read_yaml
from steadystep.lab.system.paths import path_problem
from steadystep.lab.tasks import find_task
from steadystep.lab.tasks.arms import Arm, current_name
from steadystep.lab.tasks.fields import Count, CountFromZero
from steadystep.lab.tasks.optimizer_options import optimizer_with_options
from steadystep.lab.tasks.task import Task

FIRST_TUNING_SEED = 1000
"""Tuning uses the seeds from here up. Only a study from seed 0 with more than 1,000 seeds has final runs with them."""

STORED_FIELDS = ("sha256", "study", "task_version", "data", "test_seen")
"""The fields of a study.json, which may be given as a study file."""


class Study(BaseModel):
    """The whole comparison as data. Arms with unequal tuning budgets, and an arm under two names, raise an error.

    `budgets` are numbers of epochs. Each budget is run with its own full schedule and is tuned separately; the largest
    one is the headline. Tuning runs are as long as the final runs, or `tune_epochs` if that is less. Seeds from
    `first_seed` up are paired over arms. Tuning uses those from 1000 up; paired seeds that begin at another number than
    0 may not reach them. With `until_decided`, arms get more seeds at the headline budget as long as a pair is
    undecided. `widen` is the number of rounds in which every arm tries further settings as long as the best learning
    rate of an arm is the lowest or the highest that it tried.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    arms: tuple[Arm, ...] = Field(min_length=1)
    seeds: Count = 10
    first_seed: CountFromZero = 0
    tune_seeds: Count = 2
    budgets: tuple[Count, ...] = Field(min_length=1)
    batch_size: Count
    schedule: Schedule = "cosine"
    dtype: Precision = "float32"
    tune_epochs: Count | None = None
    until_decided: UntilDecided | None = None
    widen: CountFromZero = 0

    @field_validator("budgets")
    @classmethod
    def _budgets_rise(cls, budgets: tuple[int, ...]) -> tuple[int, ...]:
        if list(budgets) != sorted(set(budgets)):
            raise ValueError(f"budgets must increase and not repeat, got {budgets}")
        return budgets

    @model_validator(mode="after")
    def _looks_come_later(self) -> "Study":
        if self.until_decided is not None and self.until_decided.looks[0] <= self.seeds:
            raise ValueError(f"the looks must be at more than {self.seeds} seeds, got {self.until_decided.looks}")
        return self

    @model_validator(mode="after")
    def _first_seed_is_not_one_of_tuning(self) -> "Study":
        last, last_of_tuning = self.first_seed + self.looks[-1] - 1, FIRST_TUNING_SEED + self.tune_seeds - 1
        if 0 < self.first_seed <= last_of_tuning and last >= FIRST_TUNING_SEED:
            raise ValueError(
                f"the paired seeds {self.first_seed} to {last} contain seeds of tuning, {FIRST_TUNING_SEED} to "
                f"{last_of_tuning}"
            )
        return self

    @model_validator(mode="after")
    def _arms_are_tuned_alike(self) -> "Study":
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"arm names must differ, got {names}")
        refuse_same_arms(self.arms)
        configurations = {arm.name: arm.configurations for arm in self.arms}
        if len(set(configurations.values())) > 1:
            raise ValueError(f"every arm must get the same number of tuned settings, got {configurations}")
        for arm in self.arms:
            if arm.quantiles and self.twin(arm) is None:
                raise ValueError(
                    f"arm {arm.name!r} takes its thresholds from the gradient norms of an unclipped arm with "
                    f"optimizer {arm.optimizer} and options {arm.options}: add one"
                )
        return self

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds at which verdicts are reached; the last one is the most that an arm gets."""
        return (self.seeds, *(self.until_decided.looks if self.until_decided else ()))

    @property
    def epochs(self) -> int:
        """The headline budget."""
        return self.budgets[-1]

    @property
    def declared_epochs(self) -> int:
        """The number of epochs over all declared trials; a study that is widened or goes on has more."""
        settings = sum(arm.configurations for arm in self.arms) * self.tune_seeds
        # Budgets with tuning runs of the same length share these runs.
        tuned = {min(budget, self.tune_epochs or budget) for budget in self.budgets}
        return settings * sum(tuned) + len(self.arms) * self.seeds * sum(self.budgets)

    def twin(self, arm: Arm) -> "Arm | None":
        """Return the unclipped arm with the same optimizer and options, or None."""
        for other in self.arms:
            if not other.clip and (other.optimizer, other.options) == (arm.optimizer, arm.options):
                return other
        return None


class StudyFileError(UserError):
    """A study file that cannot be read or does not declare a valid study."""


def load_study(path: Path) -> Study:
    """Load a study from a YAML file, or from the study.json of a study's folder.

    Raises:
        StudyFileError: if the file is invalid; the message has a line for each problem, with the field, the given value
            and the accepted values.
    """
    try:
        content = read_yaml(path.read_bytes())
    except OSError as error:
        raise StudyFileError(f"cannot read the study file {path}: {path_problem(path, error)}") from None
    except InvalidYamlError as error:
        raise StudyFileError(f"cannot read the study file {path}: {error}") from None
    try:
        study = Study.model_validate(_declaration(content))
    except ValidationError as error:
        raise _invalid(path, problems(error, Study)) from None
    except UserError as error:
        raise _invalid(path, [str(error)]) from None
    refused = [problem for arm in study.arms for problem in _refused_options(arm)]
    if refused:
        raise _invalid(path, refused)
    with suppress(UserError):  # a task of the caller's own, which is not in the table, keeps the name that it has
        study = study.model_copy(update={"task": find_task(study.task).name})
    return with_current_names(study)


def with_current_names(study: Study) -> Study:
    """Return the study with the present names of its task's arms instead of their former ones."""
    try:
        declared = {arm.name for arm in find_task(study.task).arms}
    except UserError:  # a task of the caller's own
        return study
    free = declared - {arm.name for arm in study.arms}
    arms = [
        arm.model_copy(update={"name": current_name(arm.name)})
        if arm.name not in declared and current_name(arm.name) in free
        else arm
        for arm in study.arms
    ]
    return study.model_copy(update={"arms": tuple(arms)})


def _declaration(content: Any) -> Any:
    """Return the fields of the study, from a study file or from a study.json."""
    if not isinstance(content, Mapping):
        raise UserError("it must contain fields such as task, arms and budgets")
    if "study" not in content:
        return content
    others = [str(name) for name in content if name not in STORED_FIELDS]
    if others:
        raise UserError(f"{', '.join(others)} must be inside of study, or study must be left out")
    return content["study"]


def _invalid(path: Path, found: Sequence[str]) -> StudyFileError:
    return StudyFileError(f"the study file {path} does not declare a valid study: {as_list(found)}")


def _refused_options(arm: Arm) -> list[str]:
    """Return why the optimizer does not accept the options together, such as nesterov without momentum."""
    if not arm.options:  # there is nothing to try, and the first optimizer of a process takes torch seconds
        return []
    try:
        optimizer_with_options(arm.optimizer, arm.options, lr=arm.lrs[0])
    except UserError as error:
        return [f"arm {arm.name}: {error}"]
    return []


def study_for(task: Task, seeds: int | Literal["auto"] | None = None, epochs: int | None = None) -> Study:
    """Return the task's default comparison, optionally with another number of seeds or another largest budget.

    With "auto", arms get more seeds until every pair is decided.
    """
    budgets = task.budgets
    if epochs is not None:
        budgets = (*(budget for budget in budgets if budget < epochs), epochs)
    return Study(
        task=task.name,
        arms=task.arms,
        **seeds_of(task, seeds),
        tune_seeds=task.tune_seeds,
        budgets=budgets,
        batch_size=task.batch_size,
        schedule=task.schedule,
        widen=task.widen,
    )


def seeds_of(task: Task, seeds: int | Literal["auto"] | None) -> dict[str, Any]:
    """Return the fields `seeds` and `until_decided` of a study: a number, "auto", or None for what the task says."""
    if seeds not in ("auto", None):
        return {"seeds": seeds}  # validated with the study
    going_on = UntilDecided(looks=task.looks) if task.looks else doubled(task.seeds) if seeds == "auto" else None
    return {"seeds": task.seeds, "until_decided": going_on}


def command_for(study: Study, task: Task, file: str = "FILE") -> str:
    """Return the command that runs this study again; it names the file if the study was declared in one."""
    command = f"steadystep reproduce --task {task.name}"
    if study == study_for(task):
        return command
    for seeds in (study.seeds, "auto"):
        if study == study_for(task, seeds, study.epochs):
            return f"{command} --seeds {seeds} --epochs {study.epochs}"
    return f"steadystep reproduce --study {file}"
