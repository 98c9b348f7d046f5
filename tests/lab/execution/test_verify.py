"""A published study is run again in part: the same machine agrees, and records that are not of it do not."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from steadystep.lab.errors import UserError
from steadystep.lab.execution.archive import pack
from steadystep.lab.execution.observer import Silent
from steadystep.lab.execution.run_study import read_study, run_study
from steadystep.lab.execution.store import Store
from steadystep.lab.execution.verify import Rerun, Verification, verify
from steadystep.lab.report.verification import verification_table, verification_words
from steadystep.lab.tasks import TASKS
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Task
from tiny_study import STUDY, TASK, WANTED, RecordingObserver


@pytest.fixture(scope="module", autouse=True)
def _known_task() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, TASK.name, TASK)
        yield


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished study whose records are packed, as in docs/results."""
    folder = tmp_path_factory.mktemp("published")
    run_study(STUDY, TASK, None, folder / "run")
    pack(folder / "run", folder / "packed")
    return folder / "packed"


def test_the_same_machine_gives_the_same_records(published: Path, tmp_path: Path) -> None:
    observer = RecordingObserver()
    found = verify(published, 4, None, tmp_path, observer=observer)
    assert found.agrees and all(rerun.identical and rerun.difference == 0 for rerun in found.reruns)
    assert len(observer.started) == 4 and [rerun.arm for rerun in found.reruns[:3]] == ["Adam", "Adam + clip", "SGD"]
    assert {rerun.budget for rerun in found.reruns[:3]} == {2}, "the largest budget first"
    assert verification_words(found).startswith(
        "The records agree: 4 of 4 trials differ by no more than machines do, 4 identical to the last digit. Recorded"
    )
    assert [row[-1] for row in verification_table(found).rows] == ["identical"] * 4
    again = RecordingObserver()
    verify(published, 4, None, tmp_path, observer=again)
    assert len(again.started) == 4, "what ended is run again"


def test_a_verification_that_was_stopped_is_resumed_on_the_same_machine(published: Path, tmp_path: Path) -> None:
    found = verify(published, 4, None, tmp_path)
    (tmp_path / "verification.json").unlink()  # as if it had been stopped
    store, elsewhere = Store(tmp_path), found.reruns[1].again
    store.discard(found.reruns[0].again.trial)
    store.discard(elsewhere.trial)
    store.write(elsewhere.model_copy(update={"environment": elsewhere.environment.model_copy(update={"torch": "0.1"})}))
    observer = RecordingObserver()
    again = verify(published, 4, None, tmp_path, observer=observer)
    assert {trial.id for trial in observer.started} == {rerun.again.trial.id for rerun in found.reruns[:2]}
    assert all(rerun.again.environment.torch != "0.1" for rerun in again.reruns)


def test_more_trials_after_the_end_are_all_run_again(published: Path, tmp_path: Path) -> None:
    verify(published, 2, None, tmp_path)
    observer = RecordingObserver()
    verify(published, 4, None, tmp_path, observer=observer)
    assert len(observer.started) == 4


def test_the_end_is_written_down(published: Path, tmp_path: Path) -> None:
    found = verify(published, 2, None, tmp_path)
    written = json.loads((tmp_path / "verification.json").read_text())
    assert written["agrees"] and [trial["arm"] for trial in written["trials"]] == [r.arm for r in found.reruns]


def test_records_are_not_compared_with_themselves(published: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(published)
    run_study(STUDY, TASK, None, tmp_path / "loose")
    pack(tmp_path / "loose", tmp_path / "other")
    (tmp_path / "other" / "study.json").unlink()
    folders = [published, published / ".." / published.name, *(tmp_path / name for name in ("link", "loose", "other"))]
    for folder in folders:
        with pytest.raises(UserError, match="contains the records of a study: choose another folder"):
            verify(published, 2, None, folder)


def forged(published: Path, into: Path, changes: dict[tuple[str, int], float]) -> Path:
    """Copy a packed study with other test accuracies for some arms and seeds, and right checksums."""
    results = read_study(published)
    Store(into).prepare()
    shutil.copy(published / "study.json", into)
    for (arm, budget), records in [*results.tuning.items(), *results.final.items()]:
        for record in records:
            changed = {}
            if budget == 2 and record.test_accuracy is not None:
                changed = {"test_accuracy": record.test_accuracy + changes.get((arm, record.trial.seed), 0.0)}
            Store(into).write(record.model_copy(update=changed))
    return into


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({("Adam", 0): -0.1}, id="a forged record"),
        pytest.param({("Adam", 0): -0.1, ("Adam", 1): -0.1}, id="all of an arm"),
        pytest.param({("Adam", 0): -0.3, ("Adam", 1): 0.05}, id="a forged spread"),
        pytest.param({("SGD", 0): -0.008, ("SGD", 1): -0.008}, id="an arm by less than the margin"),
    ],
)
def test_forged_records_do_not_agree(changes: dict[tuple[str, int], float], published: Path, tmp_path: Path) -> None:
    found = verify(forged(published, tmp_path / "forged", changes), 100, None, tmp_path / "again")
    assert not found.agrees
    (arm, _), *_ = changes
    blamed = {rerun.arm for rerun in found.reruns if not rerun.agrees} | {
        name.split(" after ")[0] for name in found.shifts
    }
    assert arm in blamed and blamed <= {arm, "all trials"}
    assert "same processor and version of torch" in verification_words(found)


def test_the_epochs_of_the_sample_are_planned(published: Path, tmp_path: Path) -> None:
    class Planned(Silent):
        epochs = 0

        def study_extended(self, epochs: int) -> None:
            self.epochs += epochs

    observer = Planned()
    found = verify(published, 4, None, tmp_path, observer=observer)
    assert observer.epochs == sum(rerun.budget for rerun in found.reruns) == 7


def test_records_of_something_else_do_not_agree(published: Path, tmp_path: Path) -> None:
    found = verify(published, 2, None, tmp_path)
    first = found.reruns[0]
    accuracy = first.recorded.test_accuracy
    assert accuracy is not None

    def rerun(by: float, outcome: str = "finished") -> Rerun:
        record = first.recorded.model_copy(
            update={"test_accuracy": None if outcome == "diverged" else accuracy + by, "outcome": outcome}
        )
        return replace(first, again=record, allowed=0.02)

    cases = [(rerun(0.02), True), (rerun(0.021), False), (rerun(0.0, "diverged"), False), (rerun(-0.03), False)]
    for case, expected in cases:
        assert case.agrees == expected and not case.identical
    assert rerun(0.0).identical
    shifted = Verification(found.results, (rerun(0.015),) * 50)
    assert all(each.agrees for each in shifted.reruns) and not shifted.agrees, "all in the same direction"
    assert (
        "On average the trials end elsewhere, in points: Adam after 2 epochs +1.50 (0.28 allowed)"
        in verification_words(shifted)
    )
    assert verification_words(shifted).startswith("The records do not agree: 50 of 50 trials")


def test_all_trials_can_be_run_again(published: Path, tmp_path: Path) -> None:
    assert len(verify(published, 10_000, None, tmp_path).reruns) == 3 * 2 * 2


def other_data(data: Path | None) -> Splits:
    """Return the same examples under another fingerprint."""
    return replace(TASK.load(data), fingerprint="f" * 16)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (replace(TASK, load=other_data), "other data: .* 0123456789abcdef, here f"),
        (replace(TASK, version=9), "version 9"),
    ],
)
def test_other_data_or_another_task_is_refused(
    task: Task, said: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, TASK.name, task)
    with pytest.raises(UserError, match=said) as refusal:
        verify(published, 1, None, tmp_path / "again")
    assert "\n" not in str(refusal.value) and not (tmp_path / "again").exists()


def test_an_unfinished_study_is_refused(tmp_path: Path) -> None:
    Store(tmp_path).declare(WANTED)
    with pytest.raises(UserError, match="is not finished"):
        verify(tmp_path, 1, None, tmp_path / "again")
