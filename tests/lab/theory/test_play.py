"""Check rules bound to other number types: compiled rules against the reference implementations of the tests."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import sympy
from numba import njit

from reference.optimizers import REFERENCES
from steadystep.lab.theory.play import descend, play
from steadystep.lab.theory.rebound import SYMBOLIC, rebind
from steadystep.lab.theory.smoothness_run import RowReader
from steadystep.optimizers import OPTIMIZERS, SGD, Adam
from steadystep.rule import Rule

RNG = random.Random(0)
GRADIENTS = [RNG.gauss(0, 1) * 10 ** RNG.uniform(-3, 3) for _ in range(200)]


@pytest.mark.parametrize(
    ("name", "group", "hyperparameters", "options"),
    [
        ("Adam", {"variant": "torch", "amsgrad": False}, {"beta1": 0.9, "beta2": 0.999, "eps": 1e-3}, {}),
        ("Adam", {"variant": "torch", "amsgrad": True}, {"beta1": 0.8, "beta2": 0.9, "eps": 0.0}, {"amsgrad": True}),
        ("AMSGrad", {"variant": "paper"}, {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}, {"variant": "paper"}),
        ("AMSGrad", {"variant": "torch"}, {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}, {}),
        ("Yogi", {"variant": "author"}, {"beta1": 0.9, "beta2": 0.99, "eps": 1e-3}, {}),
        ("SGD", {"variant": "torch", "nesterov": True, "momentum": 0.9}, {"momentum": 0.9, "dampening": 0.0}, {}),
        ("SGD", {"variant": "torch", "nesterov": False, "momentum": 0.0}, {}, {}),
    ],
)
def test_a_compiled_rule_equals_the_reference(
    name: str, group: dict[str, object], hyperparameters: dict[str, float], options: dict[str, object]
) -> None:
    rule: Rule = OPTIMIZERS[name].rule(group)
    actual = play(rule, GRADIENTS, {"lr": 0.01, **hyperparameters}, p=0.5)[:, 0]
    arguments = {
        key: value for key, value in {**hyperparameters, **group, **options}.items() if not key.startswith("beta")
    }
    if "beta1" in hyperparameters:
        arguments["betas"] = (hyperparameters["beta1"], hyperparameters["beta2"])
    expected = REFERENCES[name]([[0.5]], [[[g]] for g in GRADIENTS], lr=0.01, **arguments)
    np.testing.assert_allclose(actual, [step[0][0] for step in expected], rtol=1e-12, atol=1e-12)


def test_gradients_are_clipped_before_and_parameters_projected_after_the_step() -> None:
    rule = SGD.rule({"momentum": 0.0})
    path = play(rule, [-5.0, 0.5, -5.0, 5.0], {"lr": np.array([1.0, 1.0, 0.5, 1.0])}, box=(-0.2, 1.0), limit=2.0)
    assert path[:, 0].tolist() == [1.0, 0.5, 1.0, -0.2]


def test_descent_evaluates_the_gradient_at_the_current_point() -> None:
    slope = njit(lambda p, draw: 2.0 * p + draw)
    rule = SGD.rule({"momentum": 0.0})
    draws = np.array([[0.0, 0.0], [1.0, -1.0]])
    assert descend(rule, slope, draws, {"lr": 0.25}, p=4.0).tolist() == [[2.0, 1.0], [1.75, 1.125]]
    assert descend(rule, slope, draws[0], {"lr": 0.25}, p=4.0, limit=2.0).tolist() == [3.5, 3.0]


def test_a_rule_over_symbols_equals_its_equation() -> None:
    rule = Adam.rule({"variant": "epsilon_hat", "amsgrad": False})
    lr, b1, b2, eps, g = sympy.symbols("lr b1 b2 eps g", positive=True)
    scalars: Callable[..., tuple] = rebind(rule.scalars, SYMBOLIC)
    p, m, v = rebind(rule.update, SYMBOLIC)(g, 0, 0, 0, *scalars(1, lr, b1, b2, eps))
    assert sympy.simplify(p + lr * g / (g + eps / sympy.sqrt(1 - b2))) == 0
    assert sympy.simplify(m - (1 - b1) * g) == 0 and sympy.simplify(v - (1 - b2) * g**2) == 0


def test_the_row_reader_reads_rows() -> None:
    import torch

    images = torch.zeros(2, 64)
    images[1, 8:16] = 1.0  # the second of eight rows
    first, second = RowReader()(images)
    assert first.shape == (10,) and not torch.equal(first, second)
