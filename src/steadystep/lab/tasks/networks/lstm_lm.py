"""A word-level language model of LSTM layers, whose state goes on from batch to batch."""

import torch
from torch import nn

from steadystep.lab.tasks.networks.carried_state import CarriedState


class LSTMLanguageModel(nn.Module):
    """Embedding, LSTM layers, linear layer; dropout, if any, on everything that does not go through time.

    (batch, length) int64 -> (batch, length, vocabulary). A batch goes on from the state in which the batch before it
    ended, with truncated backpropagation: no gradient flows across. Training and evaluation each have a state of
    their own; `restart` begins a text. Weights start uniform in ±`init`.

    Args:
        vocabulary: how many tokens there are.
        width: of the embedding and of every layer. Default 200.
        layers: LSTM layers. Default 2.
        dropout: Default 0.
        tied: whether the last layer's weight is the embedding's. Default: it is one of its own.
        init: Default 0.1.

    Source: the small model of Zaremba, Sutskever, Vinyals, Recurrent neural network regularization, arXiv 1409.2329
    (2014), at the defaults; with one bias more in each gate, as torch's LSTM has.

    >>> sum(parameter.numel() for parameter in LSTMLanguageModel(10_000).parameters())
    4653200
    """

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
        self._trained, self._evaluated = CarriedState(layers, width), CarriedState(layers, width)
        self.head = nn.Linear(width, vocabulary)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -init, init)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        carried = self._carried()
        outputs, state = self.lstm(self.dropout(self.embedding(x)), carried.before(len(x)))
        carried.keep(state)
        return self.head(self.dropout(outputs))

    def restart(self) -> None:
        """Forget the text so far: that of training in training mode, that of evaluation in evaluation mode."""
        self._carried().forget()

    def _carried(self) -> CarriedState:
        return self._trained if self.training else self._evaluated
