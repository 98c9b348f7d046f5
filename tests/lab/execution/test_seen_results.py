"""Count test results that the declaration does not explain as seen before it, whatever study.json says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadystep.lab.execution.archive import pack
from steadystep.lab.execution.run_study import read_study, run_study
from steadystep.lab.execution.store import Store
from steadystep.lab.report.tables import study_table
from steadystep.lab.study.until_decided import UntilDecided
from steadystep.lab.tasks import TASKS
from tiny_study import STUDY, TASK


@pytest.fixture(scope="module", autouse=True)
def _known_task() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, TASK.name, TASK)
        yield


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """Return the folder of a finished study of two seeds, three arms and two budgets."""
    run_study(STUDY, TASK, None, tmp_path / "finished")
    return tmp_path / "finished"


def declare_by_hand(folder: Path, **fields: object) -> None:
    """Rewrite study.json without a checksum, as an editor does who deletes it too."""
    path = folder / "study.json"
    stored = json.loads(path.read_text())
    del stored["sha256"]
    path.write_text(json.dumps(stored | {"study": stored["study"] | fields}))


def test_all_results_of_a_study_are_its_own(finished: Path, tmp_path: Path) -> None:
    assert read_study(finished).test_seen == 0
    pack(finished, tmp_path / "packed")
    assert read_study(tmp_path / "packed").test_seen == 0
    assert study_table(read_study(finished)).remark.endswith("was declared before the first test result was known.")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("fields", [{"seeds": 1}, {"seeds": 1, "first_seed": 1}])
def test_seeds_that_were_chosen_by_their_results(
    fields: dict[str, int], packed: bool, finished: Path, tmp_path: Path
) -> None:
    before = [run for runs in read_study(finished).final.values() for run in runs]
    if packed:
        pack(finished, tmp_path / "packed")
    folder = tmp_path / "packed" if packed else finished
    declare_by_hand(folder, **fields)
    results, left_out = read_study(folder), 1 - fields.get("first_seed", 0)
    tested = [run for run in before if run.trial.seed == left_out and run.test_accuracy is not None]
    assert results.test_seen == len(tested) > 0
    assert f"declared when the study had {len(tested)} test result" in study_table(results).remark


def test_a_budget_or_an_arm_that_was_left_out(finished: Path) -> None:
    before = read_study(finished).final
    declare_by_hand(finished, budgets=[2], arms=[arm.model_dump(mode="json") for arm in STUDY.arms[1:]])
    tested = [
        run
        for (arm, budget), runs in before.items()
        for run in runs
        if (arm == "SGD" or budget == 1) and run.test_accuracy is not None
    ]
    assert read_study(finished).test_seen == len(tested) > 0


def test_seeds_that_the_declaration_may_still_run_are_its_own(finished: Path) -> None:
    going_on = UntilDecided(looks=(2, 4))
    declare_by_hand(finished, seeds=1, until_decided=going_on.model_dump(mode="json"), budgets=[1, 2])
    assert Store(finished).declared().study.looks == (1, 2, 4)
    study = STUDY.model_copy(update={"seeds": 1, "until_decided": going_on})
    assert run_study(study, TASK, None, finished).test_seen == 0
