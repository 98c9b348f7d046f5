"""What of a small network is no product of matrices, in one pass each: the operations of a `Program`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch


class Line(NamedTuple):
    """One operation on tensors that stay where they are.

    Attributes:
        operation: by its name.
        dtype: of its numbers.
        words: for how many replicas, what sizes it has, and each tensor's address and bytes from replica to replica.
        tensors: that the addresses are of.
    """

    operation: str
    dtype: torch.dtype
    words: list[int]
    tensors: Sequence[torch.Tensor]


@dataclass(frozen=True, eq=False)
class Operation:
    """What a program can do for each replica.

    Attributes:
        name: of it.
        operands: what there is of one replica, arguments and then results, by its name in the source.
        source: what is done with it. Nothing that is written overlaps with anything else.
    """

    name: str
    operands: Mapping[str, str]
    source: str


@dataclass(frozen=True, eq=False)
class Kernel(Operation):
    """An operation over (replicas, rows, width), in the place of some of torch's.

    Attributes:
        results: places for what it gives for such arguments.
    """

    results: Callable[..., tuple[torch.Tensor, ...]]

    @property
    def __name__(self) -> str:  # what a graph calls it
        return self.name

    def __call__(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Places for its results, as a plan asks for them: nothing is computed."""
        return self.results(*arguments)

    def line(self, arguments: Sequence[torch.Tensor], results: Sequence[torch.Tensor]) -> Line:
        """The operation on these tensors; a replica's elements lie one after the other."""
        tensors = [*arguments, *results]
        return Line(self.name, arguments[0].dtype, [*arguments[0].shape, *places(tensors)], tensors)


def places(tensors: Sequence[torch.Tensor]) -> list[int]:
    """The words of a line that say where tensors are, (replicas, ...) each."""
    return [word for each in tensors for word in (each.data_ptr(), each.stride(0) * each.itemsize)]


MATRIX, ROW, ONE, INTEGERS, BYTES = (
    f"({shape}), {kind}"
    for shape, kind in (
        ("rows, width", "NUMBER"), ("width,", "NUMBER"), ("1,", "NUMBER"), ("rows,", "int64"), ("rows, width", "uint8")
    )
)  # fmt: skip

# Inputs and outputs are (replicas, rows, width), biases (replicas, 1, width). NaN stays NaN. Numbers of float32 are
# those of torch's own operations to the last bit where it has vectors of AVX2 or AVX-512, for up to 256 rows and for
# two columns or more; but for the mean loss, which nothing else follows from.

BIASED_RELU = Kernel(
    "biased_relu",
    {"x": MATRIX, "bias": ROW, "y": MATRIX},
    """
    wide_vectors()
    zero = NUMBER(0)
    for row in range(len(x)):
        for i in range(len(bias)):
            value = x[row, i] + bias[i]
            y[row, i] = zero if value <= zero else value
""",
    lambda x, biases: (x.new_empty(x.shape),),
)

BIASED = Kernel(
    "biased",
    {"x": MATRIX, "bias": ROW, "y": MATRIX},
    """
    wide_vectors()
    for row in range(len(x)):
        for i in range(len(bias)):
            y[row, i] = x[row, i] + bias[i]
""",
    lambda x, biases: (x.new_empty(x.shape),),
)

# Where y is not above 0 nothing goes back to x; and the bias's gradient is what goes back in all rows.
RELU_BACKWARD = Kernel(
    "relu_backward",
    {"gradient": MATRIX, "y": MATRIX, "back": MATRIX, "of_bias": ROW},
    """
    wide_vectors()
    zero = NUMBER(0)
    for row in range(len(y)):
        for i in range(len(of_bias)):
            back[row, i] = zero if y[row, i] <= zero else gradient[row, i]
    add_up_rows(back, of_bias)
""",
    lambda gradient, y: (y.new_empty(y.shape), y.new_empty(len(y), 1, y.shape[2])),
)

# The mean of -log softmax(x)[label] over the rows, its gradient by x, and by a bias that all rows have been given.
# No label is ignored: one that is no class makes the loss NaN, and nothing else is written.
CROSS_ENTROPY = Kernel(
    "cross_entropy",
    {"x": MATRIX, "labels": INTEGERS, "loss": ONE, "of_x": MATRIX, "of_bias": ROW},
    """
    rows, width = x.shape
    share = NUMBER(1) / NUMBER(rows)
    largest = zeros_like(x[:ROWS, 0])
    loss[0] = nan
    for label in labels:
        if (label < 0) | (label >= width):
            return
    loss[0] = 0
    for first in range(0, rows, ROWS):
        end = min(first + ROWS, rows)
        block = of_x[first:end].reshape(-1)  # so long that its exp is made of vectors
        for row in range(first, end):
            most = x[row, 0]
            for i in range(1, width):
                most = x[row, i] if x[row, i] > most else most  # what is NaN comes back by the total
            for i in range(width):
                of_x[row, i] = x[row, i] - most
            largest[row - first] = most
        each_exp(block)
        some = NUMBER(0)
        for row in range(first, end):
            log_total = log(total(of_x[row]))
            for i in range(width):
                of_x[row, i] = x[row, i] - largest[row - first] - log_total
            some -= of_x[row, labels[row]]
        loss[0] += some
        each_exp(block)
        for row in range(first, end):
            of_label = fma(of_x[row, labels[row]], share, -share)
            for i in range(width):
                of_x[row, i] *= share
            of_x[row, labels[row]] = of_label
    loss[0] /= NUMBER(rows)
    add_up_rows(of_x, of_bias)
""",
    lambda x, labels: (x.new_empty(len(x)), x.new_empty(x.shape), x.new_empty(len(x), 1, x.shape[2])),
)

# Examples by their places among many, whatever they are made of.
CHOSEN = Operation(
    "chosen",
    {"examples": BYTES, "chosen": INTEGERS, "x": BYTES},
    """
    for row in range(len(chosen)):
        example, copy = examples[chosen[row]], x[row]
        for i in range(len(copy)):
            copy[i] = example[i]
""",
)


def chosen_line(examples: torch.Tensor, chosen: torch.Tensor, x: torch.Tensor, dtype: torch.dtype) -> Line:
    """x[replica, row] = examples[chosen[replica, row]], in a program over numbers of this type."""
    words = [*chosen.shape, examples[0].nbytes, examples.data_ptr(), 0, *places((chosen, x))]
    return Line(CHOSEN.name, dtype, words, (examples, chosen, x))


OPERATIONS: tuple[Operation, ...] = (BIASED_RELU, BIASED, RELU_BACKWARD, CROSS_ENTROPY, CHOSEN)
