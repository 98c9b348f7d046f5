"""`range`: activations that pass 65,504, the largest number of float16, at a random step.

The activations are enlarged by a constant that changes nothing in float32. It is such that the largest activation of
the sound run passes the limit at the random step.
"""

import math
from typing import Any

import torch
from torch import nn

from benchmarks.doctor.planted.case import FIRST, LAST, Planted, drawn
from benchmarks.doctor.programs import attention_classifier, digits_convnet
from benchmarks.doctor.run import Run, train


def _passing(peaks: list[float], step: int) -> float:
    """Return a value that the peaks of a run first pass at about a step."""
    highest = [max(peaks[: number + 1]) for number in range(len(peaks))]
    records = [number for number in range(FIRST, len(peaks)) if peaks[number] > highest[number - 1]]
    number = min(records, key=lambda record: abs(record - step))
    return (highest[number - 1] + peaks[number]) / 2


def _inputs(run: Run, module: nn.Module) -> list[float]:
    """Return the largest element of a module's input at each step of a run."""
    peaks: list[float] = []
    module.register_forward_pre_hook(lambda module, inputs: peaks.append(inputs[0].abs().max().item()))
    for _ in train(run, LAST + 10):
        pass
    return peaks


class SoftmaxByHand(attention_classifier.Attention):
    """Adds a constant to all scores, which the softmax takes back, and computes the softmax from its definition."""

    offset = 0.0
    peak = 0.0

    def weights(self, scores: torch.Tensor) -> torch.Tensor:
        self.peak = scores.detach().amax().item()
        exponentials = (scores + self.offset).exp()
        return exponentials / exponentials.sum(-1, keepdim=True)


def _block(seed: int) -> tuple[int, int]:
    draw = drawn("softmax-in-float16", seed)
    return draw.randrange(2), draw.randrange(FIRST, LAST)


def _autocast(model: nn.Module, batch: Any) -> torch.Tensor:
    tokens, y = batch
    with torch.autocast("cpu", torch.float16):
        logits = model(tokens)
    return nn.functional.cross_entropy(logits.float(), y)


def _softmax_in_float16(seed: int, sound: bool = False) -> Run:
    """Compute a softmax without subtracting the largest score: its exponentials overflow under autocast."""
    block, step = _block(seed)
    attention = _by_hand(measured := attention_classifier.make(seed), block)
    peaks = [attention.peak for _ in train(measured, LAST + 10)]
    run = attention_classifier.make(seed)
    _by_hand(run, block).offset = math.log(65_504) - _passing(peaks, step)
    if not sound:
        run.loss = _autocast
    return run


def _by_hand(run: Run, block: int) -> SoftmaxByHand:
    attention: Any = run.model.get_submodule(f"blocks.{block}.attention")
    attention.__class__ = SoftmaxByHand
    return attention


def _in_its_type(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    return nn.functional.cross_entropy(model(x.to(next(model.parameters()).dtype)).float(), y)


def _sum_in_float16(seed: int, sound: bool = False) -> Run:
    """Sum the positions of a feature map in a network of float16, where the sum overflows."""
    step = drawn("sum-in-float16", seed).randrange(FIRST, LAST)
    measured, run = digits_convnet.make(seed), digits_convnet.make(seed)
    scale = 65_504 / _passing(_inputs(measured, measured.model.get_submodule("norm")), step)
    setattr(run.model.get_submodule("pool"), "scale", scale)  # noqa: B010
    run.loss = _in_its_type
    if not sound:
        run.model.half()
    return run


CASES = (
    Planted(
        "softmax-in-float16", "range", "attention_classifier", _softmax_in_float16,
        lambda seed: (f"blocks.{_block(seed)[0]}.attention",), "not finite",
    ),
    Planted("sum-in-float16", "range", "digits_convnet", _sum_in_float16, lambda seed: ("pool",), "not finite"),
)  # fmt: skip
