"""Studies to read: made-up results with plausible numbers, and tiny ones that were really run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from steadystep.lab.data.study_data import StudyData
from steadystep.lab.execution.run_study import run_study
from steadystep.lab.execution.stored_runs import StoredRuns
from steadystep.lab.statistics import intervals
from steadystep.lab.study.records import Results, Run
from tiny_study import STUDY, TASK


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use few bootstrap resamples: these tests do not depend on them, and 9,999 would take most of the time."""
    monkeypatch.setattr(intervals, "RESAMPLES", 99)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished study of the tiny task."""
    folder = tmp_path_factory.mktemp("tiny")
    run_study(STUDY, TASK, None, folder)
    return folder


@pytest.fixture
def data_of(tmp_path: Path) -> Callable[[Results], StudyData]:
    """Return a function that makes data of results, without a folder of records."""

    def data(results: Results) -> StudyData:
        runs = [
            Run(*cell, record)
            for records in (results.tuning, results.final)
            for cell in records
            for record in records[cell]
        ]
        return StudyData(tmp_path, StoredRuns(results.study, results.task, tuple(runs), results))

    return data
