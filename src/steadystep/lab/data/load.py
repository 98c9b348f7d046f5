"""Read the folder of a study as data."""

import warnings
from pathlib import Path

from pydantic import InstanceOf

from steadystep.lab.data.checked_call import checked
from steadystep.lab.data.study_data import StudyData
from steadystep.lab.execution.stored_runs import stored_runs
from steadystep.lab.tasks.task import Task


@checked
def load(folder: str | Path, *, task: InstanceOf[Task] | None = None) -> StudyData:
    """Read a study from the folder that `steadystep reproduce` or `steadystep compare` wrote.

    Nothing is trained and no data set is loaded. The study may be unfinished, or packed by `steadystep report --pack`.
    A record that was damaged counts as not run, with a warning.

    Args:
        folder: The folder of the study.
        task: The task of the study. Default: the one of `steadystep tasks` that the study names.

    Raises:
        BrokenStudyError: if the folder has no valid study.json; the message is one line.
        UnknownTaskError: if the study's task does not exist and none is given.
    """
    found: list[str] = []
    study = StudyData(Path(folder), stored_runs(Path(folder), found.append, task))
    for text in found:
        warnings.warn(text, stacklevel=3)  # of the caller of `load`, beyond its check
    return study
