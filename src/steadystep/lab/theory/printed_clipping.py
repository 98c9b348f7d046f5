"""Clipping as printed in the paper: correct except for a gradient of 0, and it never enlarges a gradient."""

import numpy as np
import torch

from steadystep.clip_in_place import clip_gradients
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Progress

SAMPLES = 1_000


def printed(gradient: np.ndarray, max_norm: float) -> np.ndarray:
    """Return min(max_norm, |g|) * g / |g|."""
    norm = np.linalg.norm(gradient)
    with np.errstate(invalid="ignore"):
        return min(max_norm, norm) * gradient / norm


def ours(gradient: np.ndarray, max_norm: float) -> np.ndarray:
    """Clip the gradient with the project's `clip_gradients`."""
    parameter = torch.zeros(gradient.shape, dtype=torch.float64)
    parameter.grad = torch.from_numpy(gradient.copy())
    clip_gradients(parameter, max_norm)
    assert parameter.grad is not None
    return parameter.grad.numpy()


def check(progress: Progress) -> Evidence:
    """Compare the printed rule with ClipNorm on random gradients and on a gradient of 0."""
    rng = np.random.default_rng(0)
    zero = np.zeros(3)
    error, enlarged, small = 0.0, 0, 0
    for k in range(SAMPLES):
        gradient = rng.normal(size=rng.integers(1, 50)) * 10 ** rng.uniform(-8, 8)
        max_norm = float(10 ** rng.uniform(-8, 8))
        norm = float(np.linalg.norm(gradient))
        expected, found = printed(gradient, max_norm), ours(gradient, max_norm)
        error = max(error, float(np.linalg.norm(expected - found)) / min(norm, max_norm))
        small += norm <= max_norm
        enlarged += norm <= max_norm and float(np.linalg.norm(expected)) > norm * (1 + 1e-12)
        progress(k / SAMPLES)
    return Evidence(
        (
            Finding(
                "The printed rule is defined for every gradient (at g = 0 it gives "
                f"{printed(zero, 1.0)[0]}, 0/0; ClipNorm gives {ours(zero, 1.0)[0]:g})",
                bool(np.isfinite(printed(zero, 1.0)).all()),
            ),
            Finding(
                f"For g ≠ 0, it equals ClipNorm on {SAMPLES:,} gradients and thresholds over 16 decades (relative "
                f"difference {error:.1e}, tolerance 1e-14)",
                error < 1e-14,
                "assuming",
            ),
            Finding(
                f"It enlarges none of the {small} gradients within the threshold: it does not prevent gradients from "
                "becoming too small",
                enlarged == 0 and small > 100 and bool((ours(zero, 1.0) == 0).all()),
                "assuming",
            ),
        )
    )


CLAIM = Claim(
    id="printed-clipping",
    title="Gradient clipping as printed in the paper",
    statement=r"$g \leftarrow \min(c, \lVert g \rVert) \, g / \lVert g \rVert$ bounds the norm of every gradient by c "
    "and leaves smaller gradients unchanged.",
    source="The paper, Methodology; Pascanu, Mikolov & Bengio (2013), Algorithm 1",
    assumptions=(r"$g \ne 0$: at 0 it divides 0 by 0",),
    check=check,
)
