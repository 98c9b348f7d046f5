"""The operations of a `Program`: what a small network computes besides matrix products, each in one pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch


class Instruction(NamedTuple):
    """One operation on tensors at fixed addresses.

    Attributes:
        op: name of the operation.
        dtype: of its floating-point numbers.
        operands: the number of replicas, the sizes of the operation, and for each tensor its address and the bytes from
            one replica to the next.
        tensors: the tensors at these addresses.
    """

    op: str
    dtype: torch.dtype
    operands: list[int]
    tensors: Sequence[torch.Tensor]


@dataclass(frozen=True, eq=False)
class Op:
    """An operation that a program can execute for each replica.

    Attributes:
        name: its name.
        arrays: the arrays of one replica, arguments first and then results: their names in `source`, with shape and
            dtype.
        source: the body of the compiled function. An array that is written must not overlap with another one.
    """

    name: str
    arrays: Mapping[str, str]
    source: str


@dataclass(frozen=True, eq=False)
class FusedOp(Op):
    """An operation over (replicas, rows, width) that replaces several torch operations.

    Attributes:
        empty_results: returns uninitialised results for given arguments.
    """

    empty_results: Callable[..., tuple[torch.Tensor, ...]]

    @property
    def __name__(self) -> str:
        """The name of the operation's calls in a torch.fx graph."""
        return self.name

    def __call__(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return uninitialised results. Nothing is computed; `Executable` needs only their shapes and memory."""
        return self.empty_results(*arguments)

    def instruction(self, arguments: Sequence[torch.Tensor], results: Sequence[torch.Tensor]) -> Instruction:
        """Return the instruction for these tensors; each replica's elements must be contiguous."""
        tensors = [*arguments, *results]
        return Instruction(self.name, arguments[0].dtype, [*arguments[0].shape, *address_operands(tensors)], tensors)


def address_operands(tensors: Sequence[torch.Tensor]) -> list[int]:
    """Return the operands for tensors of shape (replicas, ...): the address and replica stride in bytes of each."""
    return [operand for tensor in tensors for operand in (tensor.data_ptr(), tensor.stride(0) * tensor.itemsize)]


MATRIX, ROW, SCALAR, INDICES, BYTES = (
    f"({shape}), {dtype}"
    for shape, dtype in (
        ("rows, width", "NUMBER"), ("width,", "NUMBER"), ("1,", "NUMBER"), ("rows,", "int64"), ("rows, width", "uint8")
    )
)  # fmt: skip

# Inputs and outputs are (replicas, rows, width), biases (replicas, 1, width). NaN is propagated. In float32 the results
# equal those of torch's own operations to the last bit if torch uses AVX2 or AVX-512, for up to 256 rows and for at
# least two columns. The mean loss is an exception: no other result depends on it.

BIASED_RELU = FusedOp(
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
    lambda x, bias: (x.new_empty(x.shape),),
)

BIASED = FusedOp(
    "biased",
    {"x": MATRIX, "bias": ROW, "y": MATRIX},
    """
    wide_vectors()
    for row in range(len(x)):
        for i in range(len(bias)):
            y[row, i] = x[row, i] + bias[i]
""",
    lambda x, bias: (x.new_empty(x.shape),),
)

# The gradient with respect to x is 0 where y is not positive. The gradient with respect to the bias is its sum over the
# rows.
RELU_BACKWARD = FusedOp(
    "relu_backward",
    {"gradient": MATRIX, "y": MATRIX, "x_gradient": MATRIX, "bias_gradient": ROW},
    """
    wide_vectors()
    zero = NUMBER(0)
    for row in range(len(y)):
        for i in range(len(bias_gradient)):
            x_gradient[row, i] = zero if y[row, i] <= zero else gradient[row, i]
    sum_rows(x_gradient, bias_gradient)
""",
    lambda gradient, y: (y.new_empty(y.shape), y.new_empty(len(y), 1, y.shape[2])),
)

# The mean of -log softmax(x)[label] over the rows, its gradient with respect to x, and its gradient with respect to a
# bias that was added to all rows. No label is ignored: if a label is not a class, the loss is NaN and nothing else is
# written.
CROSS_ENTROPY = FusedOp(
    "cross_entropy",
    {"x": MATRIX, "labels": INDICES, "loss": SCALAR, "x_gradient": MATRIX, "bias_gradient": ROW},
    """
    rows, width = x.shape
    weight = NUMBER(1) / NUMBER(rows)
    row_max = zeros_like(x[:ROWS, 0])
    loss[0] = nan
    for label in labels:
        if (label < 0) | (label >= width):
            return
    loss[0] = 0
    for first in range(0, rows, ROWS):
        end = min(first + ROWS, rows)
        block = x_gradient[first:end].reshape(-1)  # long enough for its exp to be vectorised
        for row in range(first, end):
            largest = x[row, 0]
            for i in range(1, width):
                largest = x[row, i] if x[row, i] > largest else largest  # the sum propagates NaN
            for i in range(width):
                x_gradient[row, i] = x[row, i] - largest
            row_max[row - first] = largest
        exp_in_place(block)
        block_loss = NUMBER(0)
        for row in range(first, end):
            log_sum = log(sum_row(x_gradient[row]))
            for i in range(width):
                x_gradient[row, i] = x[row, i] - row_max[row - first] - log_sum
            block_loss -= x_gradient[row, labels[row]]
        loss[0] += block_loss
        exp_in_place(block)
        for row in range(first, end):
            label_gradient = fma(x_gradient[row, labels[row]], weight, -weight)
            for i in range(width):
                x_gradient[row, i] *= weight
            x_gradient[row, labels[row]] = label_gradient
    loss[0] /= NUMBER(rows)
    sum_rows(x_gradient, bias_gradient)
""",
    lambda x, labels: (x.new_empty(len(x)), x.new_empty(x.shape), x.new_empty(len(x), 1, x.shape[2])),
)

# Copies the examples at given indices, whatever their dtype.
GATHER = Op(
    "gather",
    {"examples": BYTES, "indices": INDICES, "x": BYTES},
    """
    for row in range(len(indices)):
        example, copy = examples[indices[row]], x[row]
        for i in range(len(copy)):
            copy[i] = example[i]
""",
)


def gather_instruction(
    examples: torch.Tensor, indices: torch.Tensor, x: torch.Tensor, dtype: torch.dtype
) -> Instruction:
    """Return the instruction x[replica, row] = examples[indices[replica, row]] for a program of this dtype."""
    operands = [*indices.shape, examples[0].nbytes, examples.data_ptr(), 0, *address_operands((indices, x))]
    return Instruction(GATHER.name, dtype, operands, (examples, indices, x))


OPS: tuple[Op, ...] = (BIASED_RELU, BIASED, RELU_BACKWARD, CROSS_ENTROPY, GATHER)
