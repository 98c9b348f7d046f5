"""Check the measured sharpness against known Hessians."""

import numpy as np
import pytest
import torch

from steadystep.lab.theory.sharpness_run import preconditioner, sharpness
from steadystep.optimizers import SGD, Adam


def test_the_largest_eigenvalue_of_a_known_hessian() -> None:
    curvatures = torch.linspace(1, 7, 40)
    parameter = torch.nn.Parameter(torch.ones(40))
    largest, vector = sharpness((curvatures * parameter**2).sum() / 2, [parameter], np.ones(40), None)
    assert largest == pytest.approx(7.0, rel=1e-3)
    assert np.argmax(np.abs(vector)) == 39


def test_adams_preconditioner_scales_both_sides() -> None:
    parameter = torch.nn.Parameter(torch.ones(40))
    optimizer = Adam([parameter], lr=0.0001, eps=0.5)
    parameter.grad = torch.linspace(1, 4, 40)
    optimizer.step()
    scales = preconditioner(optimizer, [parameter])
    # After one step the corrected second moment is the squared gradient: P = |g| + eps.
    np.testing.assert_allclose(scales, 1 / np.sqrt(np.linspace(1, 4, 40) + 0.5), rtol=1e-5)
    largest, _ = sharpness((3 * parameter**2).sum() / 2, [parameter], scales, None)
    assert largest == pytest.approx(3 / 1.5, rel=1e-3)


def test_sgd_has_no_preconditioner() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    assert preconditioner(SGD([parameter], lr=0.1), [parameter]).tolist() == [1.0, 1.0, 1.0]
