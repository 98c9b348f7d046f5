"""`accumulation`: the gradients of earlier batches are never cleared."""

from typing import Any

import torch

from benchmarks.doctor.planted.case import Planted, drawn
from benchmarks.doctor.programs import digits_mlp, lstm_ctc
from benchmarks.doctor.run import Run, Step


def _without_zero_grad(sound: bool) -> Step:
    def step(run: Run, batch: Any) -> float:
        loss = run.loss(run.model, batch)
        loss.backward()
        run.optimizer.step()
        if sound:
            run.optimizer.zero_grad()
        return loss.item()

    return step


def _never_cleared(seed: int, sound: bool = False) -> Run:
    """Step along the sum of all gradients so far."""
    run = digits_mlp.make(seed)
    lr = drawn("never-cleared", seed).choice((0.3, 0.4, 0.5))
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=lr)
    run.step = _without_zero_grad(sound)
    return run


def _cleared_too_late(sound: bool) -> Step:
    """Return a step over the two halves of a batch, which should clear the gradients before the first half."""

    def step(run: Run, batch: Any) -> float:
        if sound:
            run.optimizer.zero_grad()
        total = 0.0
        for half in (slice(0, 4), slice(4, None)):
            loss = run.loss(run.model, {name: tensor[half] for name, tensor in batch.items()}) / 2
            loss.backward()
            total += loss.item()
        run.optimizer.step()
        return total

    return step


def _micro_batches(seed: int, sound: bool = False) -> Run:
    """Two micro-batches a step, whose sum is never cleared."""
    run = lstm_ctc.make(seed)
    lr = drawn("micro-batches", seed).choice((0.02, 0.03))
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=lr)
    run.step = _cleared_too_late(sound)
    return run


CASES = (
    Planted(
        "never-cleared", "accumulation", "digits_mlp", _never_cleared, lambda seed: ("zero_grad", "gradient"), "spike"
    ),
    Planted(
        "micro-batches", "accumulation", "lstm_ctc", _micro_batches, lambda seed: ("zero_grad", "gradient"), "spike"
    ),
)
