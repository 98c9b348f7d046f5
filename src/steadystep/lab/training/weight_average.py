"""Weight averaging during a run."""

from collections.abc import Mapping

import torch

MAX_DECAY = 0.95**5
"""Decay of the average at the end of the run, where it is largest."""


class Lookahead:
    r"""A slow copy of the model, to which the model is reset every `every` steps.

    .. math:: s \leftarrow d\, s + (1 - d)\, \theta, \quad \theta \leftarrow s,
        \qquad d = 0.95^5 \left(t / T\right)^3

    Early steps are hardly averaged; late ones are averaged over about four times `every` steps. Buffers, such as the
    statistics of batch normalisation, are averaged like the weights.
    Source: Zhang, Lucas, Hinton & Ba, Lookahead optimizer: k steps forward, 1 step back, NeurIPS 2019; the increasing
    decay: Jordan, arXiv 2404.00498 (2024), section 3.4, every 5 steps of 1,024.
    """

    def __init__(self, model: torch.nn.Module, steps: int, every: int) -> None:
        self._steps, self._every = steps, every
        self._fast = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
        self._slow = {name: value.clone() for name, value in self._fast.items()}

    @torch.no_grad()
    def after_step(self, taken: int) -> None:
        """Update the average; call this after every step with the number of steps taken so far."""
        if taken % self._every and taken != self._steps:
            return
        decay = MAX_DECAY * (taken / self._steps) ** 3
        for name, slow in self._slow.items():
            slow.lerp_(self._fast[name], 1 - decay)
            self._fast[name].copy_(slow)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the slow copy, for a checkpoint."""
        return self._slow

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the result of `state`."""
        for name, value in state.items():
            self._slow[name].copy_(value)
