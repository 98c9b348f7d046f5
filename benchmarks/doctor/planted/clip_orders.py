"""`clip-order`: the gradients are clipped before they are unscaled, which leaves a 65,536th of the threshold."""

from typing import Any

import torch

from benchmarks.doctor.planted.case import Planted, drawn
from benchmarks.doctor.programs import digits_convnet, sequence_gru
from benchmarks.doctor.run import Run, Step


def _scaled(max_norm: float, unscale_first: bool) -> Step:
    """Return a step with a gradient scaler that clips by global norm."""

    def step(run: Run, batch: Any) -> float:
        run.optimizer.zero_grad()
        loss = run.loss(run.model, batch)
        run.scaler.scale(loss).backward()
        if unscale_first:
            run.scaler.unscale_(run.optimizer)
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), max_norm)
        run.scaler.step(run.optimizer)
        run.scaler.update()
        return loss.item()

    return step


def _clipped(run: Run, lr: float, max_norm: float, sound: bool) -> Run:
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=lr, momentum=0.9)
    run.scaler = torch.amp.GradScaler("cpu")
    run.step = _scaled(max_norm, sound)
    return run


def _before_unscaling(seed: int, sound: bool = False) -> Run:
    """Clip too early in the recurrent network, whose weights then hardly change."""
    max_norm = drawn("clipped-before-unscaling", seed).choice((0.5, 1.0, 2.0))
    return _clipped(sequence_gru.make(seed), 0.1, max_norm, sound)


def _scaled_gradients_clipped(seed: int, sound: bool = False) -> Run:
    """Clip too early in the convolutional network, whose weights then hardly change."""
    max_norm = drawn("scaled-gradients-clipped", seed).choice((1.0, 2.0, 5.0))
    return _clipped(digits_convnet.make(seed), 0.05, max_norm, sound)


_PLACES = ("unscale", "clip", "scale")

CASES = (
    Planted(
        "clipped-before-unscaling", "clip-order", "sequence_gru", _before_unscaling, lambda seed: _PLACES, "stall"
    ),
    Planted(
        "scaled-gradients-clipped", "clip-order", "digits_convnet", _scaled_gradients_clipped,
        lambda seed: _PLACES, "stall",
    ),
)  # fmt: skip
