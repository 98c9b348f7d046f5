"""A NaN planted at a random step, tensor and example in each of ten small networks, and what is then said of it."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import steadystep

STEPS = 12
EXAMPLES = 8


class Last(nn.Module):
    """The last output of a recurrent network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)[0][:, -1]


class Residual(nn.Module):
    """A block whose input is added to its output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


def recurrent(kind: Callable[..., nn.Module]) -> nn.Module:
    return nn.Sequential(Last(kind(4, 8, batch_first=True)), nn.Linear(8, 3))


def attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(4, 8), layer, nn.Flatten(), nn.Linear(40, 3))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 3), (6,)),
    "perceptron": (lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), (6,)),
    "deep tanh": (lambda: nn.Sequential(*[nn.Linear(6, 6), nn.Tanh()] * 4, nn.Linear(6, 3)), (6,)),
    "residual": (lambda: nn.Sequential(nn.Linear(6, 8), Residual(8), Residual(8), nn.Linear(8, 3)), (6,)),
    "batch norm": (lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 3)), (6,)),
    "convolution": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)), (1, 6, 6)),
    "RNN": (lambda: recurrent(nn.RNN), (5, 4)),
    "LSTM": (lambda: recurrent(nn.LSTM), (5, 4)),
    "GRU": (lambda: recurrent(nn.GRU), (5, 4)),
    "transformer": (attention, (5, 4)),
}


@dataclass(frozen=True)
class Planted:
    """Where a NaN was planted, and what the error and the ledger said."""

    network: str
    step: int
    place: str  # "example 3", or the name of a tensor
    tensors: int  # how many the network has
    error: steadystep.NonFiniteGradientError
    ledger: dict[str, Any]

    @property
    def looks_like(self) -> str:
        """The kind of trouble that the error says it looks like."""
        return self.error.looks_like.split("this looks like ")[1].split(". ")[0]


def plant(name: str, seed: int, in_example: bool) -> Planted:
    """Train a network until the NaN, in an example of the batch or in the gradient of a tensor, is found."""
    choice = random.Random(seed)
    step, example = choice.randint(2, STEPS), choice.randrange(EXAMPLES)
    torch.manual_seed(seed)
    make, shape = NETWORKS[name]
    network = make()
    tensor = choice.choice(sorted(key for key, _ in network.named_parameters()))
    optimizer = steadystep.Adam(network.named_parameters(), lr=1e-3, clip=1.0, nonfinite="raise")
    for number in range(1, STEPS + 1):
        x, y = torch.randn(EXAMPLES, *shape), torch.randint(3, (EXAMPLES,))
        if number == step and in_example:
            x[example].view(-1)[0] = math.nan
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        if number == step and not in_example:
            gradient = network.get_parameter(tensor).grad
            assert gradient is not None, "every tensor of these networks has a gradient"
            gradient.view(-1)[choice.randrange(gradient.numel())] = math.nan
        try:
            optimizer.step()
        except steadystep.NonFiniteGradientError as error:
            place = f"example {example}" if in_example else tensor
            return Planted(name, step, place, len(list(network.parameters())), error, optimizer.ledger)
    raise AssertionError(f"no error for the NaN at step {step}")
