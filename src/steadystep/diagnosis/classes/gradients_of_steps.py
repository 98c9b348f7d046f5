"""The A/A gate of a user's own step: the gradients that it hands to the optimizer against those of one batch."""

from dataclasses import dataclass

import torch

from steadystep.diagnosis.case import Case
from steadystep.diagnosis.changes import Change
from steadystep.diagnosis.play import play
from steadystep.diagnosis.run import Moment, Run

COMPARED = 6


@dataclass(frozen=True)
class Pair:
    """The gradients of a step, as given to the optimizer and as computed from the batch alone."""

    index: int
    given: torch.Tensor
    fresh: torch.Tensor


def pairs(case: Case) -> list[Pair]:
    """Return the gradients of the first steps that can be compared."""
    indices = range(case.first, case.first + min(COMPARED, len(case.steps)))
    fresh = {index: _vector(case, case.probe(case.at(index), case.run.batch(index)).gradients) for index in indices}
    given = given_gradients(case, case.start, len(indices))
    return [
        Pair(index, given[index], fresh[index])
        for index in indices
        if index in given and _sound(given[index], fresh[index])
    ]


def given_gradients(case: Case, moment: Moment, count: int, *changes: Change) -> dict[int, torch.Tensor]:
    """Return the gradients that the optimizer is given, by step."""
    given: dict[int, torch.Tensor] = {}

    def keep(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        given[index] = _vector(
            case, {name: parameter.grad for name, parameter in run.parameters() if parameter.grad is not None}
        )

    play(
        case.run, moment, range(case.first, case.first + count), *changes, Change("gradients are kept", gradients=keep)
    )
    return given


def _vector(case: Case, gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    parts = []
    for name, parameter in case.run.parameters():
        gradient = gradients.get(name)
        parts.append(
            torch.zeros(parameter.numel(), dtype=torch.float64)
            if gradient is None
            else gradient.detach().to_dense().double().flatten()
        )
    return torch.cat(parts)


def _sound(*vectors: torch.Tensor) -> bool:
    return all(bool(torch.isfinite(vector).all()) and float(vector.norm()) > 0 for vector in vectors)


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the cosine of the angle between two vectors."""
    return float(one @ other / (one.norm() * other.norm()))
