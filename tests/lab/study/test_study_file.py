"""Study files as people write them: what is accepted, and what is refused in one line that says what to do."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from steadystep.lab.execution.store import BrokenStudyError, Store, StoredStudy
from steadystep.lab.study.spec import Study, StudyFileError, load_study, study_for, with_current_names
from steadystep.lab.tasks import TASKS, find_task
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.clips import CLIPS
from steadystep.optimizers import OPTIMIZERS

PLAIN: dict[str, Any] = {
    "task": "digits-mlp",
    "arms": [
        {"name": "SGD", "optimizer": "SGD", "options": {"momentum": 0.9}, "lrs": [0.1, 0.2]},
        {"name": "Adam", "optimizer": "Adam", "options": {"betas": [0.9, 0.99]}, "lrs": [0.001, 0.01]},
        {"name": "clip", "optimizer": "Adam", "options": {"betas": [0.9, 0.99]}, "lrs": [0.01], "clip": "norm",
         "quantiles": [0.1, 0.9]},
        {"name": "agc", "optimizer": "Adam", "lrs": [0.01], "clip": "agc", "thresholds": [0.01, 0.1]},
    ],
    "seeds": 3,
    "first_seed": 5,
    "tune_seeds": 2,
    "budgets": [1, 2],
    "batch_size": 64,
    "tune_epochs": 1,
    "widen": 2,
}  # fmt: skip

Place = tuple[str | int, ...]


def places(content: Any, place: Place = ()) -> list[tuple[Place, Any]]:
    """Return the place and value of everything in a declaration."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [(place, content), *(found for key, value in inner for found in places(value, (*place, key)))]


def changed(place: Place, value: Any) -> dict[str, Any]:
    """Return the declaration with another value in this place."""
    content: Any = deepcopy(PLAIN)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


def load(content: Any, folder: Path, write: Callable[[Any], str] = yaml.safe_dump) -> Study:
    (folder / "study.yaml").write_text(content if isinstance(content, str) else write(content))
    return load_study(folder / "study.yaml")


def refusal(content: Any, folder: Path, write: Callable[[Any], str] = yaml.safe_dump) -> str:
    """Return the message with which the declaration is refused, after checking that it is one line."""
    with pytest.raises(StudyFileError) as error:
        load(content, folder, write)
    assert "\n" not in str(error.value) and "study.yaml" in str(error.value)
    return str(error.value)


NUMBERS = [place for place, value in places(PLAIN) if isinstance(value, int | float)]
LISTS = [place for place, value in places(PLAIN) if isinstance(value, list) and place != ("arms",)]


def test_the_plain_declaration_is_valid(tmp_path: Path) -> None:
    assert load(PLAIN, tmp_path).model_dump(mode="json", exclude_unset=True) == PLAIN


@pytest.mark.parametrize("place", NUMBERS, ids=str)
@pytest.mark.parametrize("word", ["true", "no", "On", "FALSE"])
def test_a_truth_value_for_a_number_is_refused(place: Place, word: str, tmp_path: Path) -> None:
    text = yaml.safe_dump(changed(place, "HERE")).replace("HERE", word)
    message = refusal(text, tmp_path)
    assert "True" in message or "False" in message
    assert str(place[-2 if isinstance(place[-1], int) else -1]) in message


@pytest.mark.parametrize("place", NUMBERS, ids=str)
def test_a_truth_value_in_json_is_refused(place: Place, tmp_path: Path) -> None:
    assert "True" in refusal(changed(place, True), tmp_path, json.dumps)
    store = Store(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"study": changed(place, True), "task_version": 1, "data": "0"}))
    with pytest.raises(BrokenStudyError) as error:
        store.declared()
    assert "\n" not in str(error.value) and "True" in str(error.value)


@pytest.mark.parametrize("place", NUMBERS, ids=str)
@pytest.mark.parametrize("wrong", ["many", None, [1], {"a": 1}, float("nan"), float("inf")], ids=str)
def test_what_is_no_number_is_refused(place: Place, wrong: Any, tmp_path: Path) -> None:
    if place == ("tune_epochs",) and wrong is None:
        pytest.skip("no limit on the epochs of a tuning run")
    refusal(changed(place, wrong), tmp_path)


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_an_arm_without_a_name_is_refused(name: str, tmp_path: Path) -> None:
    assert "arms.0.name: an arm needs a name" in refusal(changed(("arms", 0, "name"), name), tmp_path)


@pytest.mark.parametrize("place", [place for place in LISTS if "options" not in place], ids=str)
@pytest.mark.parametrize("rounding", [0.0, 1e-16, 1e-12])
def test_a_repeated_value_is_refused(place: Place, rounding: float, tmp_path: Path) -> None:
    values = dict(places(PLAIN))[place]
    if place == ("budgets",) and rounding:
        pytest.skip("budgets are whole numbers")
    message = refusal(changed(place, [*values, values[0] * (1 + rounding)]), tmp_path)
    assert "repeat" in message and str(place[-1]) in message


@pytest.mark.parametrize("pair", ["1e-3, 0.001", "1, 1.0", "0.3, 0.30000000000000004", "'0.1', 0.1", "1e-1, 0.10"])
def test_one_number_written_in_two_ways_is_repeated(pair: str, tmp_path: Path) -> None:
    text = yaml.safe_dump(changed(("arms", 0, "lrs"), "HERE")).replace("HERE", f"[{pair}]")
    assert "repeated" in refusal(text, tmp_path)


SAME = {
    "another lr": {"lrs": [1.0, 2.0]},
    "another case": {"optimizer": "sgd"},
    "a default": {"options": {"momentum": 0.9, "nesterov": False}},
    "a default word": {"options": {"momentum": 0.9, "variant": "torch"}},
    "another backend": {"options": {"momentum": 0.9, "backend": "eager"}},
    "what a study sets": {"options": {"momentum": 0.9, "nonfinite": "raise"}},
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_one_arm_under_two_names_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    content = deepcopy(PLAIN)
    content["arms"].append({**content["arms"][0], **change, "name": "again"})
    message = refusal(content, tmp_path)
    assert "'SGD'" in message and "'again'" in message and "the same" in message


@pytest.mark.parametrize(
    ("arm", "change"), [(2, {"quantiles": [0.5, 0.9]}), (3, {"thresholds": [0.1, 0.2]}), (3, {"lrs": [0.5]})]
)
def test_one_clipped_arm_under_two_names_is_refused(arm: int, change: dict[str, Any], tmp_path: Path) -> None:
    content = deepcopy(PLAIN)
    content["arms"].append({**content["arms"][arm], **change, "name": "again"})
    assert "'again' are the same one" in refusal(content, tmp_path)


@pytest.mark.parametrize(
    ("arm", "change"),
    [
        (0, {"options": {"momentum": 0.8}}),
        (0, {"options": {"momentum": 0.9, "variant": "velocity"}}),
        (0, {"options": {"momentum": 0.9, "nonfinite": "skip"}}),
        (2, {"quantiles": [0.2, 0.8]}),
        (2, {"clip": "value"}),
        (3, {"thresholds": [0.2, 0.3]}),
        (3, {"clip": "adagc", "thresholds": [1.05, 1.1]}),
    ],
)
def test_arms_that_differ_are_two(arm: int, change: dict[str, Any], tmp_path: Path) -> None:
    content = deepcopy(PLAIN)
    content["arms"].append({**content["arms"][arm], **change, "name": "another"})
    assert len(load(content, tmp_path).arms) == 5


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title, lambda name: f" {name} "])
def test_names_are_accepted_in_any_case(spelling: Callable[[str], str], tmp_path: Path) -> None:
    for name in OPTIMIZERS:
        assert Arm(name="a", optimizer=spelling(name), lrs=(0.1,)).optimizer == name
    for name in CLIPS:
        thresholds: dict[str, Any] = {"quantiles": (0.5,)} if CLIPS[name].from_norms else {"thresholds": (1.0,)}
        assert Arm(name="a", optimizer="SGD", lrs=(0.1,), clip=spelling(name), **thresholds).clip == name
    assert Arm(name="a", optimizer="SGD", lrs=(0.1,), clip=spelling("clip"), quantiles=(0.5,)).clip == "norm"
    for name in [*TASKS, "rnn-addition:lstm:100:50", "cifar10-cnn:64:256:256", "cifar10-resnet:18"]:
        assert find_task(spelling(name)).name == name
    assert load(changed(("task",), spelling("digits-mlp")), tmp_path).task == "digits-mlp"


@pytest.mark.parametrize(
    ("place", "written", "meant"),
    [
        (("arms", 0, "optimizer"), "SDG", "did you mean SGD?"),
        (("arms", 1, "optimizer"), "adamm", "did you mean Adam?"),
        (("arms", 2, "clip"), "nrom", "did you mean norm?"),
        (("sedes",), 3, "did you mean seeds?"),
        (("arms", 1, "lr"), [0.1], "did you mean lrs?"),
        (("arms", 2, "quantile"), [0.1], "did you mean quantiles?"),
        (("arms", 0, "options", "momentun"), 0.9, "it takes momentum"),
        (("schedule",), "cosinus", "'cosine', 'constant' or 'triangle'"),
    ],
)
def test_a_misspelt_name_is_told_the_closest(place: Place, written: Any, meant: str, tmp_path: Path) -> None:
    assert meant in refusal(changed(place, written), tmp_path)


def test_the_task_of_a_caller_keeps_its_name(tmp_path: Path) -> None:
    assert load(changed(("task",), "My-Task"), tmp_path).task == "My-Task"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_words_can_be_declared_for_an_arm(name: str, tmp_path: Path) -> None:
    words = [
        *({"variant": variant} for variant in OPTIMIZERS[name].variants),
        *({"nonfinite": policy} for policy in ("skip", "raise", "propagate")),
        *({"rounding": rounding} for rounding in ("nearest", "stochastic", "kahan")),
        {"backend": "eager"},
        {"state_dtype": "bfloat16"},
        {"maximize": True, "max_consecutive_skips": 3},
    ]
    for options in words:
        arm = {"name": "a", "optimizer": name, "lrs": [0.01], "options": options}
        assert load({**PLAIN, "arms": [arm]}, tmp_path).arms[0].options == options


WRONG_OPTIONS = {
    "an unknown word": ({"variant": "unknown"}, "torch, velocity"),
    "an unknown policy": ({"nonfinite": "ignore"}, "skip, raise, propagate"),
    "an unknown rounding": ({"rounding": "up"}, "nearest, stochastic, kahan"),
    "another precision of the state": (
        {"state_dtype": "float16"},
        "takes one of bfloat16",
    ),
    "an unknown backend": ({"backend": "cpp"}, "backend is 'cpp'"),
    "a word for a number": ({"momentum": "high"}, "takes a number in [0"),
    "a word for a truth value": ({"nesterov": "often"}, "takes true or false"),
    "a number for a truth value": ({"nesterov": 1}, "takes true or false"),
    "a number for a word": ({"variant": 1}, "torch, velocity"),
    "a truth value for a word": ({"rounding": True}, "nearest, stochastic, kahan"),
    "a list for a number": ({"momentum": [0.9]}, "takes a number"),
    "a fraction for a count": ({"max_consecutive_skips": 1.5}, "whole number from 1"),
    "zero for a count": ({"max_consecutive_skips": 0}, "whole number from 1"),
    "a number out of range": ({"momentum": -1}, "takes a number in [0"),
    "an unknown option": ({"betas": [0.9, 0.99]}, "it takes momentum"),
    "what the arm declares": ({"lr": 0.1}, "set by the arm's lrs"),
    "the clipper": ({"clip": 1.0}, "set by the arm's clip"),
    "what does not go together": ({"nesterov": True}, "nesterov"),
    "nothing": ({"momentum": None}, "an option is a number"),
    "a mapping": ({"momentum": {"a": 1}}, "an option is a number"),
    "words in a list": ({"momentum": ["a"]}, "an option is a number"),
}


@pytest.mark.parametrize(("options", "words"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_an_option_that_the_optimizer_does_not_take_is_refused(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    assert words in refusal(changed(("arms", 0, "options"), options), tmp_path)


@pytest.mark.parametrize("betas", [[0.9], [0.9, 0.9, 0.9], 0.9, [0.9, 1.0], [0.9, -0.1], [True, 0.9], [0.9, None], []])
def test_a_list_of_another_length_or_content_is_refused(betas: Any, tmp_path: Path) -> None:
    refusal(changed(("arms", 1, "options", "betas"), betas), tmp_path)


def test_numbers_that_yaml_takes_for_words_are_numbers(tmp_path: Path) -> None:
    text = yaml.safe_dump(changed(("arms", 1, "options"), {"eps": "HERE"})).replace("HERE", "1e-8")
    content = yaml.safe_load(text)
    content["arms"].pop(2)  # its twin has other options now
    for written in (content, {**content, "seeds": "3"}):
        study = load(written, tmp_path)
        assert study.arms[1].options == {"eps": 1e-8} and study.seeds == 3


BROKEN = {
    "key twice": ("seeds: 1\nseeds: 2", "lines 1 and 2"),
    "no mapping": ("- 1", "fields such as task, arms and budgets"),
    "nothing": ("", "fields such as task, arms and budgets"),
    "a word": ("digits", "fields such as task, arms and budgets"),
    "nested": ("[" * 200_000, "nested too deeply"),
    "fields beside study": ("study: {task: a}\nseeds: 5", "seeds must be inside of study"),
    "study as a number": ("study: 3", "got 3"),
    "a field with a line break": (changed(("a\nb",), 1), "a b: there is no such field"),
    "a key that is no word": (changed((1,), 2), "1: Keys should be strings"),
    "a long value": (changed(("seeds",), "x" * 10_000), "x..."),
}


@pytest.mark.parametrize(("content", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_in_one_line(content: Any, words: str, tmp_path: Path) -> None:
    message = refusal(content, tmp_path)
    assert words in message and len(message) < 1000


@pytest.mark.parametrize("kind", ["missing", "folder", "dangling", "loop", "under a file"])
def test_a_path_that_is_no_file_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind in ("dangling", "loop"):
        path.symlink_to("nowhere" if kind == "dangling" else path.name)
    elif kind == "under a file":
        path.write_text("")
        path = path / "study.yaml"
    words = {"dangling": "leads nowhere", "loop": "leads nowhere", "under a file": "is not a folder"}
    with pytest.raises(StudyFileError, match=words.get(kind, "cannot read")) as error:
        load_study(path)
    assert "\n" not in str(error.value)


def test_every_task_declares_a_valid_study() -> None:
    for task in TASKS.values():
        study = study_for(task)
        assert Study.model_validate(study.model_dump()) == study


def test_every_published_study_is_still_valid() -> None:
    published = sorted((Path(__file__).parents[3] / "docs" / "results").glob("*/study.json"))
    assert published
    for path in published:
        content = json.loads(path.read_bytes())
        assert content.pop("sha256"), "an edit of it would be seen"
        stored = StoredStudy.model_validate_json(json.dumps(content))
        assert Store(path.parent).declared().study == load_study(path)
        assert load_study(path) == with_current_names(stored.study)


def test_arms_of_a_task_that_were_named_by_an_earlier_version_have_their_present_names(tmp_path: Path) -> None:
    present = study_for(find_task("digits-mlp"))
    assert [arm.name for arm in present.arms] == ["SGD", "Adam", "Adam + norm"]
    former = present.model_copy(update={"arms": tuple(_renamed(arm, "norm", "clip") for arm in present.arms)})
    assert with_current_names(former) == with_current_names(present) == present
    store = Store(tmp_path)
    store.declare(StoredStudy(study=former, task_version=1, data="0" * 16))
    store.declare(StoredStudy(study=present, task_version=1, data="0" * 16))  # the same study
    assert store.declared().study == present


def test_names_that_a_user_chose_are_kept() -> None:
    study = study_for(find_task("digits-mlp"))
    mine = study.model_copy(
        update={"arms": (study.arms[0].model_copy(update={"name": "mine + clip"}), *study.arms[1:])}
    )
    assert with_current_names(mine) == mine
    both = study.model_copy(update={"arms": (*study.arms, study.arms[2].model_copy(update={"name": "Adam + clip"}))})
    assert with_current_names(both) == both, "two arms must not get one name"
    assert with_current_names(study.model_copy(update={"task": "my own"})).task == "my own"


def _renamed(arm: Arm, before: str, after: str) -> Arm:
    return arm.model_copy(update={"name": arm.name.replace(before, after)})


def test_the_library_refuses_what_a_file_is_refused_for() -> None:
    for change in ({"seeds": True}, {"batch_size": False}, {"budgets": (True,)}, {"arms": (PLAIN["arms"][0],) * 2}):
        with pytest.raises(ValidationError):
            Study.model_validate({**PLAIN, **change})
