"""Recurrent networks written step by step in plain tensor operations: vanilla, LSTM and GRU."""

import math
from typing import Literal, get_args

import torch
from torch import nn

Cell = Literal["tanh", "smart-tanh", "sigmoid", "lstm", "gru"]
CELLS: tuple[Cell, ...] = get_args(Cell)

_GATES = {"lstm": 4, "gru": 3}
_CONNECTIONS = 15
"""Recurrent inputs of each unit of a "smart-tanh" network."""


class RNN(nn.Module):
    """A recurrent layer with initial state 0, and a linear head on its last state or states.

    (batch, steps, inputs) -> (batch, outputs), or (batch, outputs, read) if the head reads more than one state.

    With z_t = W x_t + b, computed for all steps at once, the next state of a vanilla network is tanh(z_t + U h_{t-1})
    or sigmoid(z_t + U h_{t-1}); "lstm" and "gru" use their usual equations.

    Vanilla networks are initialised as in Pascanu, Mikolov & Bengio (2013), section 4.1: weights from N(0, 0.1²) for
    "tanh", and from N(0, 0.01²) for "sigmoid" and "smart-tanh"; but in "smart-tanh" each row of U has only 15 nonzero
    entries and U is scaled to spectral radius 0.95; biases are 0. The weights and biases of "lstm" and "gru" are drawn
    from U(-1/√hidden, 1/√hidden), and the bias of the LSTM's forget gate is 1. Sources: Hochreiter & Schmidhuber (1997)
    with the forget gate of Gers et al. (2000), and Cho et al. (2014) with the reset gate after the product, as in
    torch.nn.

    Args:
        cell: "tanh", "smart-tanh", "sigmoid", "lstm" or "gru".
        inputs: The size of an input vector.
        hidden: The size of the state.
        outputs: The size of an output vector.
        read: The number of last states that have outputs. Default 1.

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
        # Only a GRU needs a second bias: in its candidate, the reset gate scales one of the two.
        self.recurrent = nn.Linear(hidden, size, bias=cell == "gru")
        self.head = nn.Linear(hidden, outputs)
        self._initialise(hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs for the last state, or for the last `read` states."""
        states = self._states(self.input(x).unbind(1), x.new_zeros(len(x), self.recurrent.in_features))
        if self.read == 1:
            return self.head(states[-1])
        return torch.stack([self.head(state) for state in states[-self.read :]], 2)

    def _states(self, inputs: tuple[torch.Tensor, ...], h: torch.Tensor) -> list[torch.Tensor]:
        """Return the states after each step, given the projected inputs of each step."""
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
                    update = torch.sigmoid(zz + uz)
                    candidate = torch.tanh(zn + torch.sigmoid(zr + ur) * un)
                    h = candidate + update * (h - candidate)
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
        std = 0.1 if self.cell == "tanh" else 0.01
        for layer in (self.input, self.recurrent, self.head):
            layer.weight.normal_(std=std)
            if layer.bias is not None:
                layer.bias.zero_()
        if self.cell == "smart-tanh":
            W = self.recurrent.weight
            removed = torch.rand_like(W).argsort(1) >= _CONNECTIONS
            W.masked_fill_(removed, 0)
            W.mul_(0.95 / torch.linalg.eigvals(W).abs().max())
