"""Test the grids of learning rates and the declaration of sweeps."""

import math

import pytest

from steadystep.lab.errors import UserError
from steadystep.lab.stability.declare import sweep_for
from steadystep.lab.stability.grid import grid_around, parse_grid
from steadystep.lab.tasks import TASKS
from tiny_study import TASK


def test_a_grid_is_parsed_from_text() -> None:
    assert parse_grid("1e-4:10:11")[:3] == (1e-4, 3.16e-4, 1e-3)
    assert parse_grid("3, 1,2,1") == (1.0, 2.0, 3.0)
    assert parse_grid("1:1.001:5") == (1.0,)  # equal when rounded to three digits


@pytest.mark.parametrize(
    "text", ["", "0.1", "a,b", "1:10", "10:1:5", "0:1:5", "1:2:1", "1:2:x", "-1,2", "nan,1", "1:inf:3"]
)
def test_an_invalid_grid_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match="1e-4:10:11") as refused:
        parse_grid(text)
    assert repr(text) in str(refused.value) and "\n" not in str(refused.value)


def test_the_default_grid_spans_three_decades_on_each_side_of_the_declared_rates() -> None:
    for task in TASKS.values():
        for arm in sweep_for(task).arms:
            declared = next(one for one in task.arms if one.optimizer == arm.optimizer and not one.clip).lrs
            assert min(arm.lrs) <= min(declared) / 10 and max(arm.lrs) >= max(declared) * 10
            assert math.isclose(max(arm.lrs) / min(arm.lrs), 1e6, rel_tol=0.01)
    assert grid_around((0.02, 4.0))[12] == 0.316 and grid_around((0.02, 4.0))[13] == 0.562


def test_every_optimizer_is_swept_unclipped_and_with_each_clipper_at_the_same_learning_rates() -> None:
    sweep = sweep_for(TASK, optimizers=["SGD", "Adam"], clips=["norm", "agc"], seeds=4, quantile=0.9)
    assert [arm.name for arm in sweep.arms] == ["SGD", "SGD + norm", "SGD + agc", "Adam", "Adam + norm", "Adam + agc"]
    assert sweep.arms[1].quantiles == (0.9,) and sweep.arms[2].thresholds == (0.01,)
    assert len({arm.lrs for arm in sweep.arms[:3]}) == 1
    assert (sweep.tune_seeds, sweep.budgets) == (4, (2,))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizers": ["Adm"]}, ("'Adm'", "AdamW")),
        ({"clips": ["nrom"]}, ("'nrom'", "norm, value")),
        ({"optimizers": ["Lion"]}, ("declares no learning rates for Lion", "--lrs", "SGD, Adam")),
    ],
)
def test_unknown_names_are_refused(options: dict, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as refused:
        sweep_for(TASK, **options)
    assert all(word in str(refused.value) for word in words) and "\n" not in str(refused.value)


def test_an_optimizer_without_an_arm_in_the_task_needs_learning_rates() -> None:
    assert sweep_for(TASK, optimizers=["Lion"], lrs=(0.1, 1.0)).arms[0].lrs == (0.1, 1.0)
