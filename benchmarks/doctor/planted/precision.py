"""`optimizer-precision`: sound gradients, from which the optimizer computes a wrong update in half precision."""

from typing import Any

import torch

from benchmarks.doctor.planted.case import FIRST, LAST, Planted, drawn
from benchmarks.doctor.programs import digits_mlp, language_model
from benchmarks.doctor.programs.real_digits import digit_batches
from benchmarks.doctor.run import Run, Step, plain_step


class PartlyHalf(digits_mlp.Perceptron):
    """Computes each layer in the type of its parameters."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.hidden:
            x = layer(x.to(next(layer.parameters()).dtype)).relu()
        return self.head(x.to(self.head.weight.dtype))


def _unfreezing(layer: str, step: int) -> Step:
    """Return a step that trains a layer from a step on, and before only the others."""

    def unfreeze_and_step(run: Run, batch: Any) -> float:
        head = next(iter(run.model.get_submodule("head").parameters()))
        taken = int(run.optimizer.state[head]["step"]) if head in run.optimizer.state else 0
        for parameter in run.model.get_submodule(layer).parameters():
            parameter.requires_grad_(taken >= step)
        return plain_step(run, batch)

    return unfreeze_and_step


def _thawed(seed: int) -> tuple[str, int]:
    draw = drawn("eps-in-float16", seed)
    return f"hidden.{draw.randrange(3)}", draw.randrange(FIRST, LAST)


def _eps_in_float16(seed: int, sound: bool = False) -> Run:
    """Unfreeze a layer in float16: Adam's eps of 1e-8 is zero there, and units without gradient get 0/0."""
    layer, step = _thawed(seed)
    torch.manual_seed(seed)
    model = PartlyHalf()
    model.get_submodule(layer).half()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, eps=1e-4 if sound else 1e-8)
    return Run(model, optimizer, digits_mlp.loss, digit_batches(seed), step=_unfreezing(layer, step))


@torch.no_grad()
def _lost_updates(seed: int, sound: bool = False) -> Run:
    """Train large bfloat16 weights with a small learning rate: updates below half a unit in the last place are lost."""
    run = language_model.make(seed)
    for parameter in run.model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(3)
    if not sound:
        run.model.bfloat16()
    run.optimizer = torch.optim.AdamW(run.model.parameters(), lr=drawn("lost-updates", seed).uniform(1e-4, 1.3e-4))
    del run.scheduler
    return run


CASES = (
    Planted(
        "eps-in-float16", "optimizer-precision", "digits_mlp", _eps_in_float16,
        lambda seed: ("eps", _thawed(seed)[0]), "not finite",
    ),
    Planted(
        "lost-updates", "optimizer-precision", "language_model", _lost_updates,
        lambda seed: ("bfloat16",), "stall",
    ),
)  # fmt: skip
