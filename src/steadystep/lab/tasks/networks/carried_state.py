"""What a recurrent network knows of the text so far, carried from batch to batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

State = tuple[torch.Tensor, torch.Tensor]
"""Hidden state and cell of an LSTM: (layers, batch, width) each."""


class CarriedState(nn.Module):
    """An LSTM's state between two batches of a text, without gradient: buffers, so that checkpoints keep it."""

    hidden: torch.Tensor
    cell: torch.Tensor

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        for name in ("hidden", "cell"):
            self.register_buffer(name, torch.zeros(layers, 0, width))
        self.register_load_state_dict_pre_hook(_as_large_as_saved)

    def before(self, rows: int) -> State:
        """The state that a batch of so many rows goes on from: zeros where the last one had another number of them."""
        if self.hidden.shape[1] != rows:
            self.hidden, self.cell = (
                kept.new_zeros(len(kept), rows, kept.shape[2]) for kept in (self.hidden, self.cell)
            )
        return self.hidden, self.cell

    def keep(self, state: State) -> None:
        """Detached, and in the buffers' own type whatever autocast made of it."""
        self.hidden, self.cell = (new.detach().to(self.hidden.dtype) for new in state)

    def forget(self) -> None:
        """Begin a text."""
        self.before(rows=0)


def _as_large_as_saved(module: nn.Module, saved: Mapping[str, Any], prefix: str, *_: object) -> None:
    """Buffers have as many rows as the last batch had."""
    for name in ("hidden", "cell"):
        if prefix + name in saved:
            setattr(module, name, torch.zeros_like(saved[prefix + name]))
