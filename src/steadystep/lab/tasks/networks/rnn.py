"""Recurrent networks, one step after the other in plain tensor operations: vanilla, LSTM and GRU."""

import math
from typing import Literal, get_args

import torch
from torch import nn

Cell = Literal["tanh", "smart-tanh", "sigmoid", "lstm", "gru"]
CELLS: tuple[Cell, ...] = get_args(Cell)

_GATES = {"lstm": 4, "gru": 3}
_CONNECTIONS = 15
"""How many units a unit of a "smart-tanh" network hears from."""


class RNN(nn.Module):
    """A recurrent layer that starts from zeros, and a linear head on its last state or states.

    (batch, steps, inputs) -> (batch, outputs), or (batch, outputs, read) where the head reads more than one state.

    With z_t = W x_t + b, computed for all steps at once, the state h_t is
    tanh(z_t + U h) or sigmoid(z_t + U h) of the state h before, that of an LSTM or that of a GRU.

    Weights start as in Pascanu, Mikolov & Bengio (2013), section 4.1: for "tanh" from N(0, 0.1²); for "sigmoid" from
    N(0, 0.01²); for "smart-tanh" from N(0, 0.01²) but for U, of which each row has 15 entries other than 0, scaled to
    spectral radius 0.95; biases 0. Those of "lstm" and "gru" start from U(-1/√hidden, 1/√hidden), the bias of the
    LSTM's forget gate from 1. Sources of these: Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al.
    (2000), and Cho et al. (2014) with the reset gate after the product, as in torch.nn.

    Args:
        cell: "tanh", "smart-tanh", "sigmoid", "lstm" or "gru".
        inputs: size of an input vector.
        hidden: size of a state.
        outputs: size of an output vector.
        read: how many of the last states have outputs. Default 1.

    >>> [RNN(cell, 3, 8, 2)(torch.zeros(5, 7, 3)).shape[1] for cell in CELLS]
    [2, 2, 2, 2, 2]
    >>> RNN("gru", 3, 8, 2, read=4)(torch.zeros(5, 7, 3)).shape
    torch.Size([5, 2, 4])
    """

    def __init__(self, cell: Cell, inputs: int, hidden: int, outputs: int, read: int = 1) -> None:
        super().__init__()
        self.cell, self.read = cell, read
        size = _GATES.get(cell, 1) * hidden
        self.input = nn.Linear(inputs, size)
        # Only a GRU's candidate keeps its two biases apart: the reset gate scales one of them.
        self.recurrent = nn.Linear(hidden, size, bias=cell == "gru")
        self.head = nn.Linear(hidden, outputs)
        self._initialise(hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = self._states(self.input(x).unbind(1), x.new_zeros(len(x), self.recurrent.in_features))
        if self.read == 1:
            return self.head(states[-1])
        return torch.stack([self.head(state) for state in states[-self.read :]], 2)

    def _states(self, inputs: tuple[torch.Tensor, ...], h: torch.Tensor) -> list[torch.Tensor]:
        """The states after all steps, from the projected inputs."""
        states, c = [], h
        for z in inputs:
            u = self.recurrent(h)
            match self.cell:
                case "tanh" | "smart-tanh":
                    h = torch.tanh(z + u)
                case "sigmoid":
                    h = torch.sigmoid(z + u)
                case "lstm":
                    i, f, g, o = (z + u).chunk(4, 1)
                    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                    h = torch.sigmoid(o) * torch.tanh(c)
                case "gru":
                    (zr, zz, zn), (ur, uz, un) = z.chunk(3, 1), u.chunk(3, 1)
                    keep = torch.sigmoid(zz + uz)
                    candidate = torch.tanh(zn + torch.sigmoid(zr + ur) * un)
                    h = candidate + keep * (h - candidate)
            states.append(h)
        return states

    @torch.no_grad()
    def _initialise(self, hidden: int) -> None:
        if self.cell in _GATES:
            for parameter in self.parameters():
                parameter.uniform_(-1 / math.sqrt(hidden), 1 / math.sqrt(hidden))
            if self.cell == "lstm":
                self.input.bias[hidden : 2 * hidden] = 1
            return
        deviation = 0.1 if self.cell == "tanh" else 0.01
        for layer in (self.input, self.recurrent, self.head):
            layer.weight.normal_(std=deviation)
            if layer.bias is not None:
                layer.bias.zero_()
        if self.cell == "smart-tanh":
            W = self.recurrent.weight
            silent = torch.rand_like(W).argsort(1) >= _CONNECTIONS
            W.masked_fill_(silent, 0)
            W.mul_(0.95 / torch.linalg.eigvals(W).abs().max())
