"""Studies built from a short list of arms."""

import re
from typing import Any

import pytest

from steadystep.lab.errors import UserError
from steadystep.lab.study.compare import comparison
from steadystep.lab.tasks import find_task
from steadystep.lab.tasks.clips import CLIPS
from steadystep.optimizers import OPTIMIZERS

DIGITS = find_task("digits-mlp")


@pytest.mark.parametrize("settings", [2, 4, 6])
def test_every_pair_of_optimizer_and_clipper_makes_a_study_of_equal_budgets(settings: int) -> None:
    for optimizer in OPTIMIZERS:
        arms = ",".join([optimizer.lower(), *(f"{optimizer}+{clip}" for clip in CLIPS)])
        study = comparison(DIGITS, arms, settings=settings)
        assert [arm.optimizer for arm in study.arms] == [optimizer] * (1 + len(CLIPS))
        assert [arm.clip for arm in study.arms] == [None, *CLIPS]
        assert {arm.configurations for arm in study.arms} == {settings}
        twin = study.arms[0]
        assert all(set(arm.lrs) <= set(twin.lrs) for arm in study.arms), "clipped arms search where their twin does"


def test_an_arm_that_needs_its_twins_norms_adds_the_twin() -> None:
    names = [arm.name for arm in comparison(DIGITS, "adam+clip,yogi+agc,adam").arms]
    assert names == ["Adam", "Adam + norm", "Yogi + agc"]


def test_learning_rates_can_be_given() -> None:
    first, second = comparison(DIGITS, "adam@1e-4:1e-1,sgd").arms
    assert first.lrs == (1e-4, 1e-3, 1e-2, 1e-1)
    declared = next(arm for arm in DIGITS.arms if arm.name == "SGD").lrs
    assert (min(second.lrs), max(second.lrs)) == (min(declared), max(declared)), "the task's own search"


@pytest.mark.parametrize(
    ("arms", "complaint"),
    [
        ("adamm", "there is no optimizer 'adamm'"),
        ("adam+cut", "there is no clipper 'cut'"),
        ("adam+clip+agc", "cannot read the arm 'adam+clip+agc'"),
        ("adam@1e-1:1e-4", "must be positive and increasing"),
        ("adam@a:b", "cannot read the learning rates"),
        (" , ", "no arms were given"),
        ("adam,adam", "the arm Adam is given twice, as 'adam' and 'adam'"),
        ("adam,sgd,ADAM", "the arm Adam is given twice, as 'adam' and 'ADAM'"),
        ("adam@1e-4:1e-3,adam@1e-2:1e-1", "the arm Adam is given twice"),
        ("adam+clip,sgd,adam+norm", "the arm Adam + norm is given twice"),
        ("adam+agc@1e-4:1e-3,adam+AGC", "the arm Adam + agc is given twice"),
        ("adam@1e-3:1.0001e-3", "is repeated"),
        ("adam@true:1", "cannot read the learning rates"),
        ("adam@1e-3:yes", "cannot read the learning rates"),
        ("adam@1e-3:nan", "must be positive and increasing"),
        ("adamm+clip", "did you mean Adam?"),
        ("adam+nrom", "did you mean norm?"),
    ],
)
def test_invalid_arms_are_named_in_the_error(arms: str, complaint: str) -> None:
    with pytest.raises(UserError, match=re.escape(complaint)) as error:
        comparison(DIGITS, arms)
    assert "\n" not in str(error.value)


def test_a_twin_that_is_named_has_the_learning_rates_that_it_is_given() -> None:
    for arms in ("adam@1e-4:1e-1,adam+clip", "adam+clip,adam@1e-4:1e-1"):
        twin = next(arm for arm in comparison(DIGITS, arms).arms if arm.name == "Adam")
        assert twin.lrs == (1e-4, 1e-3, 1e-2, 1e-1)


@pytest.mark.parametrize("wrong", [{"seeds": True}, {"epochs": True}, {"seeds": 0}, {"epochs": -1}, {"settings": True}])
def test_an_invalid_number_is_an_error_of_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError) as error:
        comparison(DIGITS, "adam", **wrong)
    assert "\n" not in str(error.value)


def test_invalid_settings_and_schedules_are_errors() -> None:
    with pytest.raises(UserError, match="even"):
        comparison(DIGITS, "adam", settings=3)
    with pytest.raises(UserError, match="'cosine', 'constant' or 'triangle', got 'cosinus'"):
        comparison(DIGITS, "adam", schedule="cosinus")  # pyright: ignore[reportArgumentType]
