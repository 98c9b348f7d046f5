"""`optimizer-state`: a resume that brings the wrong moments."""

import copy
from typing import Any

import torch
from torch import nn

from benchmarks.doctor.planted.case import Planted, drawn
from benchmarks.doctor.programs import attention_classifier, autoencoder
from benchmarks.doctor.run import Run, train


def _lost_second_moments(seed: int, sound: bool = False) -> Run:
    """Resume without the second moments: they start at zero, with the bias correction of a late step."""
    draw = drawn("lost-second-moments", seed)
    before, run = attention_classifier.make(seed), attention_classifier.make(seed)
    for each in (before, run):
        each.optimizer.param_groups[0]["lr"] = 5e-3
        each.batches = attention_classifier.batches(seed, size=32)
    for _ in train(before, draw.randrange(8, 14)):
        pass
    run.model.load_state_dict(before.model.state_dict())
    state = copy.deepcopy(before.optimizer.state_dict())
    if not sound:
        for entry in state["state"].values():
            entry["exp_avg_sq"].zero_()
    run.optimizer.load_state_dict(state)
    return run


def _summed(model: nn.Module, batch: Any) -> torch.Tensor:
    return (model(batch) - batch).square().sum()


def _momentum_of_another_run(seed: int, sound: bool = False) -> Run:
    """Resume with the momentum of a run whose loss was the sum of the squared errors, not their mean."""
    run, before = autoencoder.make(seed), autoencoder.make(seed)
    errors = run.batches[0].numel()
    lr = 0.5
    before.loss = _summed
    before.optimizer = torch.optim.SGD(before.model.parameters(), lr=lr / errors, momentum=0.9)
    for _ in train(before, drawn("momentum-of-another-run", seed).randrange(30, 60)):
        pass
    run.model.load_state_dict(before.model.state_dict())
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=lr, momentum=0.9)
    if not sound:
        run.optimizer.load_state_dict(before.optimizer.state_dict())
        run.optimizer.param_groups[0]["lr"] = lr
    return run


CASES = (
    Planted(
        "lost-second-moments", "optimizer-state", "attention_classifier", _lost_second_moments,
        lambda seed: ("exp_avg_sq", "second moment", "state"), "spike",
    ),
    Planted(
        "momentum-of-another-run", "optimizer-state", "autoencoder", _momentum_of_another_run,
        lambda seed: ("momentum", "state"), "spike",
    ),
)  # fmt: skip
