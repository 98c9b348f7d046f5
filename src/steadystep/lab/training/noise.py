"""The random generators of a run: one that all processes share, and one for each process's noise."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from steadystep.lab.training.device import random_states, set_random_states
from steadystep.lab.training.ranks import Ranks
from steadystep.lab.training.seeds import noise_state, seed_noise


class Noise:
    """The random states of a run.

    Data are augmented with torch's global generator, which has the same state in all processes. A model draws its noise
    (dropout) from it too if there is one process, and otherwise from a generator that differs between the processes,
    because their rows do.
    """

    def __init__(self, seed: int, device: torch.device, ranks: Ranks) -> None:
        self._device, self._ranks = device, ranks
        seed_noise(seed, device, ranks.rank)
        self._own = noise_state(seed, ranks.rank)

    @contextmanager
    def of_model(self) -> Iterator[None]:
        """Let the model draw from this process's generator."""
        if self._ranks.alone:
            yield
            return
        shared = torch.get_rng_state()
        torch.set_rng_state(self._own)
        try:
            yield
        finally:
            self._own = torch.get_rng_state()
            torch.set_rng_state(shared)

    def shared_state(self) -> dict[str, torch.Tensor]:
        """Return the random states that all processes have in common."""
        states = random_states(self._device)
        return states if self._ranks.alone else {"cpu": states["cpu"]}

    def own_state(self) -> dict[str, torch.Tensor]:
        """Return the random states that only this process has."""
        if self._ranks.alone:
            return {}
        return {**random_states(self._device), "cpu": self._own}

    def restore(self, shared: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> None:
        """Restore saved states.

        Processes that were not there when the state was saved, and devices of another type, keep the states that the
        seed gave them.
        """
        self._own = own.get("cpu", self._own)
        set_random_states({**own, **shared}, self._device)
