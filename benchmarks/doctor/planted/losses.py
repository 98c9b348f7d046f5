"""`wrong-loss`: a loss that runs without an error and is not what was meant."""

from typing import Any

import torch
from torch import nn

from benchmarks.doctor.planted.case import Planted
from benchmarks.doctor.programs import attention_classifier, autoencoder
from benchmarks.doctor.run import Run


class EndsWithSoftmax(attention_classifier.Encoder):
    """An encoder that returns probabilities, for a loss that takes logits."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return super().forward(tokens).softmax(-1)


def _softmax_twice(seed: int, sound: bool = False) -> Run:
    """Take the cross-entropy of probabilities: the softmax of a softmax, whose loss cannot come near zero."""
    run = attention_classifier.make(seed)
    if not sound:
        run.model.__class__ = EndsWithSoftmax
    return run


def _every_pair(model: nn.Module, batch: Any) -> torch.Tensor:
    # (N, 1, 8, 8) and (N, 8, 8) broadcast to (N, N, 8, 8): every output is compared with every image.
    return ((model(batch) - batch.squeeze(1)) ** 2).mean()


def _broadcast(seed: int, sound: bool = False) -> Run:
    """Compare the outputs with the images of all other examples too: the best that can be learnt is their mean."""
    run = autoencoder.make(seed)
    if not sound:
        run.loss = _every_pair
    return run


CASES = (
    Planted(
        "softmax-twice", "wrong-loss", "attention_classifier", _softmax_twice,
        lambda seed: ("softmax", "loss"), "stall",
    ),
    Planted("broadcast", "wrong-loss", "autoencoder", _broadcast, lambda seed: ("broadcast", "shape", "loss"), "stall"),
)  # fmt: skip
