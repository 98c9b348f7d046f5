"""A study is declared, run and read in a few lines of Python, with the results and files of the command."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steadystep import lab
from steadystep.lab.errors import UserError
from steadystep.lab.execution.store import OtherStudyError
from steadystep.lab.tasks import TASKS
from tiny_study import STUDY, TASK

REPORT = {"report.html", "summary.md", "summary.csv", "verdicts.csv", "convergence.csv"}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(TASKS, TASK.name, TASK)


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}


def test_three_lines_declare_run_and_read_a_study(capfd: pytest.CaptureFixture[str]) -> None:
    study = lab.compare("tiny", ["SGD", "Adam+norm"], seeds=3, epochs=2, workers=1, out="x")
    assert list(zip(study.verdicts.arm, study.verdicts.against, strict=True)) == [
        ("Adam", "SGD"), ("Adam + norm", "SGD"), ("Adam + norm", "Adam"),
    ]  # fmt: skip
    assert set(study.trials.budget) == {2} and set(study.trials[study.trials.stage == "final"].seed) == {0, 1, 2}
    assert {path.name for path in Path("x").iterdir() if path.is_file()} == {*REPORT, "study.json"}
    assert capfd.readouterr() == ("", "")
    command = (
        "steadystep compare --task tiny --arms SGD,Adam+norm --settings 4 --seeds 3 --epochs 2 --workers 1 --out x"
    )
    assert command in Path("x", "report.html").read_text()


def test_the_same_call_resumes(capfd: pytest.CaptureFixture[str]) -> None:
    first = lab.reproduce("tiny", workers=1)
    assert first.folder == Path("studies/tiny") and first.results.study == STUDY
    before = times(first.folder)
    removed = next((first.folder / "records").iterdir())
    removed.unlink()
    second = lab.reproduce("tiny", workers=1)
    after = times(second.folder)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {removed.name}
    columns = [name for name in first.trials if name not in ("seconds", "step_ms", "optimizer_ms")]
    assert first.trials[columns].equals(second.trials[columns])


def test_progress_is_shown_on_demand(capfd: pytest.CaptureFixture[str]) -> None:
    lab.compare("tiny", "sgd", settings=2, seeds=1, epochs=1, workers=1, progress=True)
    assert {"tuning: 2 trials", "final runs: 1 trial"} <= set(capfd.readouterr().out.splitlines())
    assert Path("studies/tiny-compared/report.html").exists()


def test_a_study_with_more_seeds_keeps_its_runs() -> None:
    few = lab.reproduce("tiny", seeds=2, epochs=1, workers=1, out="x")
    more = lab.reproduce("tiny", seeds=3, epochs=1, workers=1, out="x")
    assert set(few.trials.trial) < set(more.trials.trial)
    assert [set(study.trials[study.trials.stage == "final"].seed) for study in (few, more)] == [{0, 1}, {0, 1, 2}]


def test_a_study_is_run_from_a_file_or_an_object() -> None:
    small = STUDY.model_copy(update={"arms": STUDY.arms[:2], "budgets": (1,)})
    of_object = lab.reproduce(study=small, workers=1, out="x")
    assert of_object.results.study == small
    assert "steadystep reproduce --study x/study.json --workers 1 --out x" in Path("x/report.html").read_text()
    of_file = lab.reproduce(study="x/study.json", workers=1, out="y")
    assert of_file.results.study == small
    assert of_file.trials.val_accuracy.equals(of_object.trials.val_accuracy)


def test_a_task_of_ones_own_needs_no_entry_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TASKS, TASK.name)
    study = lab.compare(TASK, "sgd,adam", settings=2, seeds=2, epochs=1, workers=1, out=Path("x"))
    assert len(study.verdicts) == 1
    page = Path("x/report.html").read_text()
    assert "steadystep.lab.compare(tiny, arms=&#39;sgd,adam&#39;, settings=2, seeds=2, epochs=1, workers=1" in page
    assert lab.load("x", task=TASK).headline == study.headline


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lab.compare("tinny"), "there is no task 'tinny'.* did you mean tiny"),
        (lambda: lab.compare("tiny", ["adamm"]), "did you mean Adam"),
        (lambda: lab.compare("tiny", []), "no arms were given"),
        (lambda: lab.compare("tiny", seeds=0), "seeds must be greater than or equal to 1 or 'auto', got 0"),
        (lambda: lab.compare("tiny", seeds="many"), "seeds must be a whole number or 'auto', got 'many'"),  # pyright: ignore
        (lambda: lab.compare("tiny", seeds=1.5), "seeds must be a whole number or 'auto', got 1.5"),  # pyright: ignore
        (lambda: lab.reproduce("tiny", seeds=True), "seeds must be .* got True"),
        (lambda: lab.compare("tiny", schedule="linear"), "schedule must be 'cosine', .* got 'linear'"),  # pyright: ignore
        (lambda: lab.reproduce("tiny", seeds=0), "seeds must be greater than or equal to 1 or 'auto', got 0"),
        (lambda: lab.reproduce("tiny", epochs=0), "epochs must be .* got 0"),
        (lambda: lab.reproduce("tiny", workers=0), "workers must be greater than or equal to 1, got 0"),
        (lambda: lab.reproduce("tiny", replicas=-1), "replicas must be greater than or equal to 1, got -1"),
        (lambda: lab.reproduce("tiny", dtype="float16"), "dtype must be 'float32' or 'bfloat16', got 'float16'"),  # pyright: ignore
        (lambda: lab.compare("tiny", workers=1.5), "workers must be a whole number, got 1.5"),  # pyright: ignore
        (lambda: lab.compare("tiny", executor="foo"), "executor must be 'processes' or 'ray', got 'foo'"),  # pyright: ignore
        (lambda: lab.compare("tiny", out=5), "out must be text or a path, got 5"),  # pyright: ignore
        (lambda: lab.compare("tiny", [3]), r"arms must be text or a list of text, got \[3\]"),  # pyright: ignore
        (lambda: lab.compare(3), "task must be text or an instance of Task, got 3"),  # pyright: ignore
        (lambda: lab.compare("tiny", log=3), "log must be text or a list, got 3"),  # pyright: ignore
        (lambda: lab.reproduce(study={}), "study must be text or a path or an instance of Study, got {}"),  # pyright: ignore
        (lambda: lab.load(3), "folder must be text or a path, got 3"),  # pyright: ignore
        (lambda: lab.reproduce("tiny", device="tpu"), "there is no device 'tpu'"),
        (lambda: lab.reproduce(study=STUDY, seeds=3), "leave out seeds and epochs"),
        (lambda: lab.reproduce(study="none.yaml"), "cannot read the study file none.yaml"),
    ],
)
def test_an_invalid_argument_is_named_before_anything_is_written(call: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_argument_is_a_type_error_as_always() -> None:
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'worker'"):
        lab.compare("tiny", worker=2)  # pyright: ignore


@pytest.mark.parametrize("seeds", [np.int64(2), np.uint8(2), 2.0])
def test_any_whole_number_is_a_number_of_seeds(seeds: Any) -> None:
    study = lab.compare("tiny", "sgd", settings=2, seeds=seeds, epochs=1, workers=1, out="x").results.study
    assert (study.seeds, study.until_decided) == (2, None)


def test_a_folder_with_another_study_is_refused() -> None:
    lab.compare("tiny", "sgd", settings=2, seeds=1, epochs=1, workers=1, out="x")
    with pytest.raises(OtherStudyError, match="x contains another study"):
        lab.compare("tiny", "adam", settings=2, seeds=1, epochs=1, workers=1, out="x")
