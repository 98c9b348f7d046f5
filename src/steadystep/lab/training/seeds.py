"""Random numbers from a trial's seed: initial weights, data order and noise, each from an independent stream."""

from collections.abc import Callable

import numpy as np
import torch

from steadystep.lab.training.device import CPU

_STREAMS = ("weights", "order", "noise")


def initial_model(make_model: Callable[[], torch.nn.Module], seed: int) -> torch.nn.Module:
    """Return a new model with the initial weights of this seed. Changes torch's global random state."""
    _seed_cpu(_stream_seed(seed, "weights"))
    return make_model()


def seed_noise(seed: int, device: torch.device = CPU, rank: int = 0) -> None:
    """Seed torch's global random states for the noise (dropout) of a run on this device.

    The CPU's state is the same in all processes of a run, and that of the device differs.
    """
    _seed_cpu(_stream_seed(seed, "noise"))
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(_stream_seed(seed, "noise", rank))


def noise_state(seed: int, rank: int) -> torch.Tensor:
    """Return the state of a generator of the noise of one process."""
    return torch.Generator().manual_seed(_stream_seed(seed, "noise", rank)).get_state()


def epoch_order(seed: int, epoch: int, examples: int) -> torch.Tensor:
    """Return the order in which an epoch, counted from 0, visits the examples."""
    # Each epoch has its own generator, so that epoch and step are enough to restore the position in the data.
    generator = torch.Generator().manual_seed(_stream_seed(seed, "order", epoch))
    return torch.randperm(examples, generator=generator)


def _seed_cpu(seed: int) -> None:
    # torch.manual_seed would also seed unused accelerators, which takes as long as a step.
    torch.default_generator.manual_seed(seed)


def _stream_seed(seed: int, name: str, number: int = 0) -> int:
    """Return the generator seed of one stream, independent of the seeds of the other streams."""
    return int(np.random.SeedSequence([seed, _STREAMS.index(name), number]).generate_state(1, np.uint64)[0] >> 1)
