"""exp and log have the stated accuracy and agree with torch's softmax."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numba import njit

from steadystep.lab.replicas.compiled.exp_log import EXP_LOG

_exp, _log = EXP_LOG[torch.float32]


@njit(error_model="numpy")
def _apply(function, x, y):
    for i in range(len(x)):
        y[i] = function(x[i])


def apply(function: Callable[..., float], x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    _apply(function, x, y)
    return y


def floats(first: float, last: float) -> np.ndarray:
    """Return a million floats between two numbers, evenly spaced by rank among all floats."""
    begin, end = np.array([first, last], np.float32).view(np.int32).tolist()
    return np.linspace(begin, end, 1_000_001).astype(np.int32).view(np.float32)


def error_in_ulps(found: np.ndarray, exact: np.ndarray) -> float:
    # The spacing of float32 numbers near 1e-38 is denormal, which a processor may flush to 0: computed in float64.
    _, exponent = np.frexp(exact.astype(np.float32).astype(np.float64))
    return float(np.max(np.abs(found - exact) / np.ldexp(1.0, exponent - 24)))


@pytest.mark.parametrize(("first", "last"), [(-1e-30, -87.0), (1e-30, 88.0)])
def test_exp_is_accurate_to_one_unit_in_the_last_place(first: float, last: float) -> None:
    x = floats(first, last)
    assert error_in_ulps(apply(_exp, x), np.exp(x.astype(np.float64))) <= 1.0


def test_log_is_accurate_to_one_unit_in_the_last_place() -> None:
    x = floats(1.0, 3.4e38)[1:]
    assert error_in_ulps(apply(_log, x), np.log(x.astype(np.float64))) <= 1.0
    assert apply(_log, np.ones(1, np.float32)) == 0


def test_exp_of_extreme_and_special_values() -> None:
    x = np.array([0, -0.0, np.nan, np.inf, -np.inf, 200, -200, -104.5, -103, -90], np.float32)
    tiny = np.exp(np.array([-103, -90])).astype(np.float32)
    np.testing.assert_array_equal(apply(_exp, x), [1, 1, np.nan, np.inf, 0, np.inf, 0, 0, *tiny])


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="torch does not vectorise here")
def test_exp_equals_that_of_torchs_softmax() -> None:
    """The derivative of log-softmax is -exp(y) * sum(gradient) where the gradient itself is zero."""
    x = floats(-1e-30, -104.0)[:1_000_000].reshape(-1, 10)
    gradient = torch.zeros(len(x), 11)
    gradient[:, 10] = -1
    log_p = torch.cat([torch.from_numpy(x), torch.zeros(len(x), 1)], 1)
    found = torch.ops.aten._log_softmax_backward_data(gradient, log_p, 1, torch.float32)[:, :10]
    np.testing.assert_array_equal(apply(_exp, x.ravel()), found.numpy().ravel())
