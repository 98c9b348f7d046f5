"""`transient`: a bit that flips once, and not when the step is taken again."""

from collections.abc import Callable

import torch

from benchmarks.doctor.planted.case import FIRST, LAST, Planted, drawn
from benchmarks.doctor.programs import digits_convnet, sequence_gru
from benchmarks.doctor.run import Run

_EXPONENT = 1 << 30
"""The highest bit of the exponent of a float32: a number below 2 becomes huge, infinite or NaN."""


def _flipping(step: int, place: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function that flips a bit of its argument, in place, at its call number `step`, and never again.

    The count is of this process, as that of a machine would be: no copy and no state of the run holds it.
    """
    calls = 0

    def flip(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == step + 1:
            small = (tensor.detach().abs() < 2).flatten().nonzero().flatten()
            tensor.detach().view(torch.int32).view(-1)[small[place % len(small)]] ^= _EXPONENT
        return tensor

    return flip


def _flips(name: str, seed: int) -> tuple[int, int]:
    """Draw the step and the place in the tensor."""
    draw = drawn(name, seed)
    return draw.randrange(FIRST, LAST), draw.randrange(1 << 20)


def _flipped_weight(seed: int, sound: bool = False) -> Run:
    """Flip a bit of a weight in memory, before a forward pass."""
    run = sequence_gru.make(seed)
    if not sound:
        flip, weight = _flipping(*_flips("flipped-weight", seed)), run.model.get_parameter("head.weight")
        run.model.register_forward_pre_hook(lambda module, inputs: (flip(weight), None)[1])
    return run


def _flipped_gradient(seed: int, sound: bool = False) -> Run:
    """Flip a bit of a gradient."""
    run = digits_convnet.make(seed)
    if not sound:
        flip = _flipping(*_flips("flipped-gradient", seed))
        run.model.get_parameter("head.weight").register_hook(lambda gradient: flip(gradient.clone()))
    return run


def _places(name: str, seed: int) -> tuple[str, ...]:
    return f"step {_flips(name, seed)[0]}", "head", "hardware"


CASES = (
    Planted(
        "flipped-weight", "transient", "sequence_gru", _flipped_weight,
        lambda seed: _places("flipped-weight", seed), "spike",
    ),
    Planted(
        "flipped-gradient", "transient", "digits_convnet", _flipped_gradient,
        lambda seed: _places("flipped-gradient", seed), "spike",
    ),
)  # fmt: skip
