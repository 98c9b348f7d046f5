"""A word-level LSTM language model whose state is carried from batch to batch."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

State = tuple[torch.Tensor, torch.Tensor]
"""Hidden state and cell state of an LSTM: (layers, batch, width) each."""


class LSTMLanguageModel(nn.Module):
    """Embedding, LSTM layers and a linear layer, with dropout on the connections within a time step.

    (batch, length) int64 -> (batch, length, vocabulary). A batch starts from the state in which the previous batch
    ended. Backpropagation is truncated: no gradient flows from one batch to another. Training and evaluation have
    separate states; `restart` begins a new text. Weights are initialised uniformly in ±`init`.

    Args:
        vocabulary: The number of tokens.
        width: The size of the embedding and of every layer. Default 200.
        layers: The number of LSTM layers. Default 2.
        dropout: The dropout probability. Default 0.
        tied: Whether the last layer shares the weight of the embedding. Default: it has a separate weight.
        init: The bound of the initial weights. Default 0.1.

    Source: with the defaults, the small model of Zaremba, Sutskever, Vinyals, Recurrent neural network regularization,
    arXiv 1409.2329 (2014), but with a second bias in each gate, as in torch's LSTM.

    >>> sum(parameter.numel() for parameter in LSTMLanguageModel(10_000).parameters())
    4653200
    """

    row_buffers: ClassVar[Mapping[str, int]] = {
        f"{state}.{name}": 1 for state in ("_trained", "_evaluated") for name in ("hidden", "cell")
    }
    """The dimension of each buffer in which it has one entry for each row of a batch."""

    def __init__(
        self,
        vocabulary: int,
        width: int = 200,
        layers: int = 2,
        dropout: float = 0.0,
        tied: bool = False,
        init: float = 0.1,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self._trained, self._evaluated = _CarriedState(layers, width), _CarriedState(layers, width)
        self.head = nn.Linear(width, vocabulary)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -init, init)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next tokens, and carry the state over to the next batch."""
        carried = self._carried()
        outputs, state = self.lstm(self.dropout(self.embedding(x)), carried.get(len(x)))
        carried.set(state)
        return self.head(self.dropout(outputs))

    def restart(self) -> None:
        """Reset the training state in training mode, or the evaluation state in evaluation mode."""
        self._carried().reset()

    def _carried(self) -> "_CarriedState":
        return self._trained if self.training else self._evaluated


class _CarriedState(nn.Module):
    """The state of an LSTM between two batches, detached. It is stored in buffers, so checkpoints contain it."""

    hidden: torch.Tensor
    cell: torch.Tensor

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        for name in ("hidden", "cell"):
            self.register_buffer(name, torch.zeros(layers, 0, width))
        self.register_load_state_dict_pre_hook(_resize_buffers)

    def get(self, rows: int) -> State:
        """Return the initial state for a batch of `rows` rows: zeros if the last batch had a different size."""
        if self.hidden.shape[1] != rows:
            self.hidden, self.cell = (
                buffer.new_zeros(len(buffer), rows, buffer.shape[2]) for buffer in (self.hidden, self.cell)
            )
        return self.hidden, self.cell

    def set(self, state: State) -> None:
        """Store a state, detached and in the dtype of the buffers, which may differ from that of autocast."""
        self.hidden, self.cell = (new.detach().to(self.hidden.dtype) for new in state)

    def reset(self) -> None:
        """Drop the state, as at the start of a text."""
        self.get(rows=0)


def _resize_buffers(module: nn.Module, saved: Mapping[str, Any], prefix: str, *_: object) -> None:
    """Resize the buffers to the saved number of rows, which is that of the last batch before saving."""
    for name in ("hidden", "cell"):
        if prefix + name in saved:
            setattr(module, name, torch.zeros_like(saved[prefix + name]))
