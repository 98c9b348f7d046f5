"""What a trial's seed decides: initial weights, the order of the data, and noise, each by a stream of its own."""

from collections.abc import Callable

import numpy as np
import torch

from steadystep.lab.training.device import CPU

_STREAMS = ("weights", "order", "noise")


def initial_model(make_model: Callable[[], torch.nn.Module], seed: int) -> torch.nn.Module:
    """The model with this seed's initial weights. torch's global random state is used for them."""
    _seed(_stream(seed, "weights"))
    return make_model()


def start_noise(seed: int, device: torch.device = CPU) -> None:
    """Put torch's global random states where the noise of a training run on this device (dropout) starts."""
    _seed(_stream(seed, "noise"))
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(_stream(seed, "noise"))


def epoch_order(seed: int, epoch: int, examples: int) -> torch.Tensor:
    """In which order an epoch, counted from 0, visits the examples."""
    # A generator of its own for each epoch: the position in the data is then a pair of numbers.
    generator = torch.Generator().manual_seed(_stream(seed, "order", epoch))
    return torch.randperm(examples, generator=generator)


def _seed(seed: int) -> None:
    # torch.manual_seed also seeds accelerators that are not used here, which takes as long as a step.
    torch.default_generator.manual_seed(seed)


def _stream(seed: int, name: str, epoch: int = 0) -> int:
    """A generator's seed for one use, independent of those for the others."""
    return int(np.random.SeedSequence([seed, _STREAMS.index(name), epoch]).generate_state(1, np.uint64)[0] >> 1)
