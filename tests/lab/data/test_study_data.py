"""The data of a study: from its folder, as Parquet, as figures, and as it looks in a notebook."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pandas as pd
import pytest

from lab_factory import ARMS, make_results
from steadystep import lab
from steadystep.lab.data.study_data import StudyData
from steadystep.lab.execution.archive import pack
from steadystep.lab.execution.run_study import read_study
from steadystep.lab.execution.store import BrokenStudyError, Store, StoreError
from steadystep.lab.execution.stored_runs import UnfinishedStudyError
from steadystep.lab.report.figures import figures
from steadystep.lab.report.headline import headline
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.study.records import Results
from steadystep.lab.tasks import TASKS, UnknownTaskError
from tiny_study import STUDY, TASK, TRIALS_IN_ALL, WANTED

DataOf = Callable[[Results], StudyData]


@pytest.fixture(autouse=True)
def known_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """List the tiny task, so that its studies are read like those of any other."""
    monkeypatch.setitem(TASKS, TASK.name, TASK)


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny study, which a test may damage."""
    return copytree(tiny, tmp_path / "copy")


def record_files(folder: Path, role: str) -> list[Path]:
    return [path for path in (folder / "records").iterdir() if f'"role": "{role}"' in path.read_text()]


def test_a_study_is_read_from_its_folder(tiny: Path) -> None:
    study = lab.load(str(tiny))
    assert study.finished and study.results == read_study(tiny)
    assert study.headline == headline(study.results, summarise(study.results))
    assert len(study.trials) == study.trials.trial.nunique() == TRIALS_IN_ALL
    assert len(study.curves) == TRIALS_IN_ALL // 2 * (1 + 2)
    assert set(study.trials.arm) == {arm.name for arm in STUDY.arms}
    assert len(study.verdicts) == 3
    assert repr(study) == f"<StudyData {str(tiny)!r}: tiny, 3 arms, 2 seeds, finished>"


def test_a_packed_study_is_read_alike(tiny: Path, tmp_path: Path) -> None:
    pack(tiny, tmp_path)
    packed, plain = lab.load(tmp_path), lab.load(tiny)
    for name in ("trials", "curves", "arms", "verdicts", "convergence"):
        pd.testing.assert_frame_equal(getattr(packed, name), getattr(plain, name))


def test_tuning_runs_that_budgets_share_are_listed_for_each(tmp_path: Path) -> None:
    study = lab.reproduce(TASK, study=STUDY.model_copy(update={"tune_epochs": 1}), out=tmp_path, workers=1)
    tuning = study.trials.query("stage == 'tuning' and clip.isna()")
    assert set(tuning.epochs) == {1}
    shared = [set(tuning.query(f"budget == {budget}").trial) for budget in (1, 2)]
    assert shared[0] == shared[1] and len(shared[0]) == 4


@pytest.mark.parametrize("name", ["trials", "curves", "verdicts"])
def test_parquet_has_the_same_frames(tiny: Path, tmp_path: Path, name: str) -> None:
    study = lab.load(tiny)
    paths = study.to_parquet(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["trials.parquet", "curves.parquet", "verdicts.parquet"]
    assert {path.name for path in paths[0].parent.iterdir()} == {path.name for path in paths}
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "new" / "folder" / f"{name}.parquet"), getattr(study, name)
    )


def test_parquet_of_columns_without_values(data_of: DataOf, tmp_path: Path) -> None:
    study = data_of(make_results(arms=ARMS[:1], seeds=1, budgets=(1,)))
    assert [path.parent for path in study.to_parquet()] == [tmp_path] * 3
    for name in ("trials", "curves", "verdicts"):
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), getattr(study, name))


def test_a_folder_that_cannot_be_written_is_named(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write .*file"):
        lab.load(tiny).to_parquet(tmp_path / "file")


def test_the_figures_are_those_of_the_page(data_of: DataOf) -> None:
    study = data_of(make_results())
    drawn = figures(study.results, study.summary)
    assert {figure.id: figure.plot for figure in drawn} == study.figures
    assert list(study.figures) == [figure.id for figure in drawn] and "accuracy-curves" in study.figures


def test_html_has_headline_results_and_verdicts_and_no_script(data_of: DataOf) -> None:
    study = data_of(make_results())
    html = study._repr_html_()
    assert study.headline in html and "<table>" in html
    for arm, against, verdict in study.verdicts[["arm", "against", "verdict"]].to_numpy():
        assert f'{arm} vs {against}: <span class="badge {verdict}">' in html
    assert "<script" not in html and len(html) < 20_000


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b"])
def test_html_escapes_the_name_of_an_arm(data_of: DataOf, name: str) -> None:
    arms = [ARMS[0].model_copy(update={"name": name}), ARMS[1]]
    study = data_of(make_results(arms=arms, accuracy={name: 0.9, "Adam": 0.8}))
    html = study._repr_html_()
    assert name not in html
    assert set(re.findall(r"<(\w+)", html)) <= {
        "div", "style", "p", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td", "span", "ul", "li",
    }  # fmt: skip
    assert set(study.trials.arm) == {name, "Adam"}


def test_an_unfinished_study_has_the_runs_so_far(copy: Path) -> None:
    finished = lab.load(copy)
    removed, kept = record_files(copy, "final")[0], len(finished.trials) - 1
    removed.unlink()
    study = lab.load(copy)
    assert not study.finished and "unfinished" in repr(study)
    expected = finished.trials.query(f"trial != '{removed.stem}'").reset_index(drop=True)
    assert len(study.trials) == kept
    pd.testing.assert_frame_equal(study.trials, expected)
    assert set(study.curves.trial) == set(study.trials.trial)
    assert "is not finished: 11 of 12 trials of the stage" in study._repr_html_()
    for name in ("results", "summary", "headline", "arms", "verdicts", "convergence", "figures"):
        with pytest.raises(UnfinishedStudyError, match="11 of 12 trials"):
            getattr(study, name)
    with pytest.raises(UnfinishedStudyError):
        study.to_parquet()
    assert not list(copy.glob("*.parquet"))


def test_stages_that_an_unfinished_stage_decides_are_left_out(copy: Path) -> None:
    for path in record_files(copy, "tune")[:1]:
        path.unlink()
    trials = lab.load(copy).trials
    assert 0 < len(trials) < TRIALS_IN_ALL - 1
    assert set(trials.stage) == {"tuning"}


def test_a_study_without_any_run_has_empty_frames(tmp_path: Path) -> None:
    Store(tmp_path).declare(WANTED)
    study = lab.load(tmp_path)
    assert len(study.trials) == len(study.curves) == 0
    assert "test_accuracy" in study.trials and "train_loss" in study.curves


def test_a_damaged_record_is_a_warning_and_counts_as_not_run(copy: Path) -> None:
    path = record_files(copy, "final")[0]
    path.write_text(path.read_text().replace('"steps": ', '"steps": 1'))
    with pytest.warns(UserWarning, match="counts as not run") as caught:
        study = lab.load(copy)
    assert [warning.filename for warning in caught] == [__file__]
    assert path.stem not in set(study.trials.trial)


def test_the_error_of_a_folder_without_a_study_is_that_of_the_command(tmp_path: Path) -> None:
    for folder, words in (
        (tmp_path, "study.json: the file does not exist"),
        (tmp_path / "none", "study.json: the file does not exist"),
        (tmp_path / "file", "file is not a folder"),
        (tmp_path / "broken", "is not a valid study"),
    ):
        (tmp_path / "file").touch()
        (tmp_path / "broken").mkdir(exist_ok=True)
        (tmp_path / "broken" / "study.json").write_text("{}")
        with pytest.raises(BrokenStudyError) as caught:
            lab.load(folder)
        with pytest.raises(BrokenStudyError) as of_the_command:
            read_study(folder)
        assert str(caught.value) == str(of_the_command.value)
        assert words in str(caught.value) and "\n" not in str(caught.value)
        assert caught.value._render_traceback_() == [f"BrokenStudyError: {caught.value}"]  # what a notebook shows


def test_the_task_of_a_study_must_be_known_or_given(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TASKS, TASK.name)
    with pytest.raises(UnknownTaskError, match="there is no task 'tiny'"):
        lab.load(tiny)
    assert lab.load(tiny, task=TASK).finished


def test_pandas_and_plotly_are_imported_when_they_are_used(tiny: Path) -> None:
    """Run in another process, because this one has imported everything."""
    script = """
import sys
from steadystep import lab
assert "pydantic" not in sys.modules and lab.__all__ == ["StudyData", "compare", "load", "reproduce"]
load = lab.load
assert not {"pandas", "pyarrow", "plotly", "statsmodels"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert set(lab.__all__) <= set(dir(lab))
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        lab.laod  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
