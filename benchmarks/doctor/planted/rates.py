"""`learning-rate`: a schedule that at a random step raises the learning rate far above the stable limit."""

import torch

from benchmarks.doctor.planted.case import FIRST, LAST, Planted, drawn
from benchmarks.doctor.programs import autoencoder, regression_net
from benchmarks.doctor.run import Run


def _warm_up_too_far(seed: int, sound: bool = False) -> Run:
    """Plant a linear warm-up to a learning rate that is 20 to 100 times too large."""
    draw = drawn("warm-up-too-far", seed)
    times, length = draw.uniform(20, 100), draw.randrange(60, 2 * LAST)
    run = regression_net.make(seed)
    for group in run.optimizer.param_groups:
        group["lr"] *= 1.0 if sound else times
    run.scheduler = torch.optim.lr_scheduler.LinearLR(run.optimizer, 1e-3, 1.0, length)
    return run


def _growing_decay(seed: int, sound: bool = False) -> Run:
    """Plant a step decay by a factor of 10 that multiplies where it should divide."""
    run = autoencoder.make(seed)
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=2.0, momentum=0.9)
    step = drawn("growing-decay", seed).randrange(FIRST, LAST)
    run.scheduler = torch.optim.lr_scheduler.StepLR(run.optimizer, step, 0.7 if sound else 10.0)
    return run


CASES = (
    Planted(
        "warm-up-too-far", "learning-rate", "regression_net", _warm_up_too_far,
        lambda seed: ("lr", "learning rate"), "spike",
    ),
    Planted(
        "growing-decay", "learning-rate", "autoencoder", _growing_decay,
        lambda seed: ("lr", "learning rate", "gamma", "schedul"), "spike",
    ),
)  # fmt: skip
