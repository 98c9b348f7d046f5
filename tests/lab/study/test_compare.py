"""Studies built from a short list of arms."""

import re

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
    ],
)
def test_invalid_arms_are_named_in_the_error(arms: str, complaint: str) -> None:
    with pytest.raises(UserError, match=re.escape(complaint)) as error:
        comparison(DIGITS, arms)
    assert "\n" not in str(error.value)


def test_invalid_settings_and_schedules_are_errors() -> None:
    with pytest.raises(UserError, match="even"):
        comparison(DIGITS, "adam", settings=3)
    with pytest.raises(UserError, match="cosine, constant, triangle"):
        comparison(DIGITS, "adam", schedule="cosinus")  # pyright: ignore[reportArgumentType]
