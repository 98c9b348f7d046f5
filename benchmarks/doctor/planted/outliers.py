"""`outlier-gradient`: a finite but huge gradient of one batch throws the run off, and clipping it cures.

The sound twins have the same outlier, and clip by global norm.
"""

from typing import Any

import torch

from benchmarks.doctor.planted.case import FIRST, LAST, Planted, drawn
from benchmarks.doctor.programs import autoencoder, regression_net
from benchmarks.doctor.run import Run


def _where(name: str, seed: int, size: int) -> tuple[int, int]:
    draw = drawn(name, seed)
    return draw.randrange(FIRST, LAST), draw.randrange(size)


def _clipped_step(run: Run, batch: Any) -> float:
    run.optimizer.zero_grad()
    loss = run.loss(run.model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimizer.step()
    return loss.item()


def _rare_target(seed: int, sound: bool = False) -> Run:
    """Plant a target hundreds of standard deviations away, under the squared error."""
    run = regression_net.make(seed)
    batch, example = _where("rare-target", seed, 32)
    run.batches[batch][1][example] = drawn("rare-target size", seed).choice((-1, 1)) * 500.0
    if sound:
        run.step = _clipped_step
    return run


def _image_of_bytes(seed: int, sound: bool = False) -> Run:
    """Plant an image with values up to 255, among images with values up to 1."""
    run = autoencoder.make(seed)
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=1.0, momentum=0.9)
    batch, example = _where("image-of-bytes", seed, 24)
    run.batches[batch][example] *= 255
    if sound:
        run.step = _clipped_step
    return run


def _places(name: str, size: int, seed: int) -> tuple[str, ...]:
    batch, example = _where(name, seed, size)
    return f"example {example}", f"batch {batch}"


CASES = (
    Planted(
        "rare-target", "outlier-gradient", "regression_net", _rare_target,
        lambda seed: _places("rare-target", 32, seed), "spike",
    ),
    Planted(
        "image-of-bytes", "outlier-gradient", "autoencoder", _image_of_bytes,
        lambda seed: _places("image-of-bytes", 24, seed), "spike",
    ),
)  # fmt: skip
