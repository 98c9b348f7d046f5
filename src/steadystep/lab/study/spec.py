"""The declaration of a study: the task, the arms to compare, and the budgets, which are equal for all arms."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from steadystep.lab.choices import Precision, Schedule
from steadystep.lab.errors import UserError
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.task import Task

Count = Annotated[int, Field(ge=1)]


class Study(BaseModel):
    """The whole comparison as data. Arms with unequal tuning budgets raise an error.

    `budgets` are numbers of epochs. Each budget is run with its own full schedule and is tuned separately; the largest
    one is the headline. Tuning runs are as long as the final runs, or `tune_epochs` if that is less. Seeds 0, 1, ...
    are paired over arms; tuning uses other seeds, from 1000 up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    arms: tuple[Arm, ...] = Field(min_length=1)
    seeds: Count = 10
    tune_seeds: Count = 2
    budgets: tuple[Count, ...] = Field(min_length=1)
    batch_size: Count
    schedule: Schedule = "cosine"
    dtype: Precision = "float32"
    tune_epochs: Count | None = None

    @field_validator("budgets")
    @classmethod
    def _budgets_rise(cls, budgets: tuple[int, ...]) -> tuple[int, ...]:
        if list(budgets) != sorted(set(budgets)):
            raise ValueError(f"budgets must increase and not repeat, got {budgets}")
        return budgets

    @model_validator(mode="after")
    def _arms_are_tuned_alike(self) -> "Study":
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"arm names must differ, got {names}")
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
    def epochs(self) -> int:
        """The headline budget."""
        return self.budgets[-1]

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
        StudyFileError: if the file is invalid; the message is one line with the field, the given value and the
            accepted values.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyFileError(f"cannot read the study file {path}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise StudyFileError(f"the study file {path} must contain fields such as task, arms and budgets")
    try:
        return Study.model_validate(content.get("study", content))
    except ValidationError as error:
        raise StudyFileError(f"the study file {path} does not declare a valid study: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """Return the first error as one line: the field, the problem and the rejected value."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    given = f", got {first['input']!r}" if isinstance(first["input"], str | int | float | None) else ""
    return f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}{given}{more}"


def study_for(task: Task, seeds: int | None = None, epochs: int | None = None) -> Study:
    """Return the task's default comparison, optionally with another number of seeds or another largest budget."""
    budgets = task.budgets
    if epochs is not None:
        budgets = (*(budget for budget in budgets if budget < epochs), epochs)
    return Study(
        task=task.name,
        arms=task.arms,
        seeds=seeds or task.seeds,
        tune_seeds=task.tune_seeds,
        budgets=budgets,
        batch_size=task.batch_size,
        schedule=task.schedule,
        tune_epochs=task.tune_epochs,
    )


def command_for(study: Study, task: Task, file: str = "FILE") -> str:
    """Return the command that runs this study again; it names the file if the study was declared in one."""
    command = f"steadystep reproduce --task {task.name}"
    if study == study_for(task):
        return command
    if study == study_for(task, study.seeds, study.epochs):
        return f"{command} --seeds {study.seeds} --epochs {study.epochs}"
    return f"steadystep reproduce --study {file}"
