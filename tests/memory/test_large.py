"""Kernels reach elements beyond 2**31: shown with a table of chunks that starts there, over memory that ends there.

The address given to a kernel lies as far before the real memory as the first element that its table names, so that only
an index that is computed in 64 bits leads back to the memory.
"""

import numpy as np
import pytest
import torch

from steadystep.kernels.codegen import Equation
from steadystep.kernels.cpu.norm_kernel import chunk_norms_kernel
from steadystep.kernels.cpu.update_kernel import UNTRANSFORMED, update_kernel
from steadystep.optimizers.sgd import SGD

FIRST = (1 << 32) + 7
LENGTH = 1500  # one whole block, and a rest
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def counters_and_chunks() -> tuple[np.ndarray, ...]:
    """Return what a kernel begins with, for one chunk far beyond the first element."""
    return np.zeros(2, np.int64), np.array([0, 1], np.int64), np.array([[0, FIRST, LENGTH]], np.int64)


def shifted(tensor: torch.Tensor) -> int:
    """Return the address at which element FIRST would be the first element of the tensor."""
    return tensor.data_ptr() - FIRST * tensor.itemsize


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_norm_kernel_reaches_beyond_32_bits(dtype: torch.dtype) -> None:
    gradient = torch.randn(LENGTH, dtype=torch.float64).to(dtype)
    sums, scales, peaks = np.empty((3, 1))
    chunk_norms_kernel(dtype)(*counters_and_chunks(), np.array([shifted(gradient)]), sums, scales, peaks)
    assert peaks[0] == gradient.double().abs().max().item()
    assert sums[0] == pytest.approx(gradient.double().square().sum().item(), rel=1e-12)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_update_kernel_reaches_beyond_32_bits(dtype: torch.dtype, plain: bool) -> None:
    parameter, gradient = torch.randn(2, LENGTH, dtype=torch.float64).to(dtype)
    optimizer = SGD([torch.zeros(1)], lr=0.5)
    rule = optimizer.rule(optimizer.param_groups[0])
    equation = Equation(rule.update, rule.sums, len(rule.slots))
    expected = (parameter.double() - 0.5 * gradient.double()).to(dtype)
    pointers = np.array([[shifted(gradient), shifted(parameter)]])
    shared = np.array([1.0, 0.0, 1.0, *rule.coefficients(1, optimizer.param_groups[0]).values()])
    squares = np.zeros((2, 1))
    update_kernel(equation, dtype, dtype, plain)(
        *counters_and_chunks(), pointers, np.array([UNTRANSFORMED]), shared, np.ones((1, 1)), squares
    )
    torch.testing.assert_close(parameter, expected)
    assert squares[0, 0] > 0 and squares[1, 0] == 0
