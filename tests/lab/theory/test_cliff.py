"""Check the error surface of the cliff against finite differences."""

import numpy as np
import pytest

from steadystep.lab.theory.cliff import error, surface


@pytest.mark.parametrize(("w", "b"), [(4.4, -2.2), (5.5, -2.7), (6.0, -1.0), (1.0, 0.5)])
def test_the_gradient_equals_finite_differences_of_the_error(w: float, b: float) -> None:
    value, dw, db = error(w, b)
    h = 1e-7
    assert 0 <= value < 0.5
    assert dw == pytest.approx((error(w + h, b)[0] - error(w - h, b)[0]) / (2 * h), rel=1e-4, abs=1e-8)
    assert db == pytest.approx((error(w, b + h)[0] - error(w, b - h)[0]) / (2 * h), rel=1e-4, abs=1e-8)


def test_the_surface_holds_errors_and_gradient_norms() -> None:
    errors, norms = surface(np.array([4.4, 5.5]), np.array([-2.2]))
    value, dw, db = error(5.5, -2.2)
    assert errors.shape == (1, 2)
    assert (errors[0, 1], norms[0, 1]) == pytest.approx((value, np.hypot(dw, db)))
