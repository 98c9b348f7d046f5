"""What of a small network is no product of matrices, in one pass each: operations for a `Plan`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from steadystep.kernels.cpu.compiling import compiled


@dataclass(frozen=True, eq=False)
class Kernel:
    """A compiled loop over whole arrays.

    Attributes:
        name: of the operation.
        source: defines ``kernel(*arguments, *results)``, all of them arrays, none of which overlap.
        results: new tensors for what it gives for such arguments.
    """

    name: str
    source: str
    results: Callable[..., tuple[torch.Tensor, ...]]

    def starter(self, arguments: Sequence[torch.Tensor], results: Sequence[torch.Tensor]) -> Callable[[], None]:
        """Runs the loop on these tensors, however often it is called."""
        run: Any = self._compiled
        arrays = [tensor.numpy() for tensor in (*arguments, *results)]
        return lambda: run(*arrays)

    @property
    def __name__(self) -> str:  # what a graph calls it
        return self.name

    @cached_property
    def _compiled(self) -> Callable[..., None]:
        return compiled(self.name, self.source, {"ROWS": ROWS, "zeros_like": np.zeros_like}, None, None)

    def __call__(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results = self.results(*arguments)
        self.starter(arguments, results)()
        return results


# Inputs and outputs are (replicas, batch, width), a bias (replicas, 1, width). NaN stays NaN. Numbers are those of
# torch's own operations to the last bit, for a batch of up to 256: it is summed by sums of 16 rows, as torch does.
ROWS = 16

BIASED_RELU = Kernel(
    "biased_relu",
    """
def kernel(x, biases, y):
    wide_vectors()
    zero = x.dtype.type(0)
    for replica in range(len(x)):
        bias = biases[replica, 0]
        for row in range(x.shape[1]):
            before, after = x[replica, row], y[replica, row]
            for i in range(len(bias)):
                value = before[i] + bias[i]
                after[i] = zero if value <= zero else value
""",
    lambda x, biases: (torch.empty_like(x),),
)

BIASED = Kernel(
    "biased",
    """
def kernel(x, biases, y):
    wide_vectors()
    for replica in range(len(x)):
        bias = biases[replica, 0]
        for row in range(x.shape[1]):
            before, after = x[replica, row], y[replica, row]
            for i in range(len(bias)):
                after[i] = before[i] + bias[i]
""",
    lambda x, biases: (torch.empty_like(x),),
)

# Where y is not above 0 nothing goes back to x; and the bias's gradient is what goes back in all rows.
RELU_BACKWARD = Kernel(
    "relu_backward",
    """
def kernel(gradient, y, back, of_biases):
    wide_vectors()
    replicas, rows, width = y.shape
    zero = y.dtype.type(0)
    some = zeros_like(of_biases[0, 0])
    for replica in range(replicas):
        of_bias = of_biases[replica, 0]
        of_bias[:] = 0
        for first in range(0, rows, ROWS):
            some[:] = 0
            for row in range(first, min(first + ROWS, rows)):
                given, after, passed = gradient[replica, row], y[replica, row], back[replica, row]
                for i in range(width):
                    value = zero if after[i] <= zero else given[i]
                    passed[i] = value
                    some[i] += value
            for i in range(width):
                of_bias[i] += some[i]
""",
    lambda gradient, y: (torch.empty_like(y), y.new_empty(len(y), 1, y.shape[2])),
)

# A replica's mean of -log_p[label] over the rows, and its gradient by log_p. Every label is a class: none is ignored.
NLL = Kernel(
    "nll",
    """
def kernel(log_p, labels, losses, gradients):
    replicas, rows, _ = log_p.shape
    gradients[:] = 0
    number = log_p.dtype.type
    for replica in range(replicas):
        loss = number(0)
        for first in range(0, rows, ROWS):
            some = number(0)
            for row in range(first, min(first + ROWS, rows)):
                label = labels[replica, row]
                some -= log_p[replica, row, label]
                gradients[replica, row, label] = -number(1) / number(rows)
            loss += some
        losses[replica] = loss / number(rows)
""",
    lambda log_p, labels: (log_p.new_empty(len(log_p)), torch.empty_like(log_p)),
)
