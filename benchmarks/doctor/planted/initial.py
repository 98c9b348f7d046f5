"""`initialisation`: a layer that no gradient passes from the start."""

import torch

from benchmarks.doctor.planted.case import Planted, drawn
from benchmarks.doctor.programs import autoencoder, digits_mlp
from benchmarks.doctor.run import Run


def _dead(seed: int) -> tuple[str, float]:
    draw = drawn("dead-layer", seed)
    return f"hidden.{draw.randrange(3)}", draw.uniform(10, 100)


@torch.no_grad()
def _dead_layer(seed: int, sound: bool = False) -> Run:
    """Biases far below zero: no unit of a layer is ever positive."""
    run = digits_mlp.make(seed)
    layer, depth = _dead(seed)
    if not sound:
        run.model.get_parameter(f"{layer}.bias").fill_(-depth)
    return run


def _saturated(seed: int) -> tuple[str, float]:
    draw = drawn("saturated-layer", seed)
    return draw.choice(("encoder.2", "decoder.0")), draw.uniform(2_000, 10_000)


@torch.no_grad()
def _saturated_layer(seed: int, sound: bool = False) -> Run:
    """Weights that are thousands of times too large: every tanh of a layer is -1 or 1 exactly."""
    run = autoencoder.make(seed)
    layer, times = _saturated(seed)
    if not sound:
        run.model.get_parameter(f"{layer}.weight").mul_(times)
    return run


CASES = (
    Planted(
        "dead-layer", "initialisation", "digits_mlp", _dead_layer, lambda seed: (_dead(seed)[0],), "stall"
    ),
    Planted(
        "saturated-layer", "initialisation", "autoencoder", _saturated_layer,
        lambda seed: (_saturated(seed)[0],), "stall",
    ),
)  # fmt: skip
