"""Generated problems with long time lags, one family per file; every epoch has new examples."""

from steadystep.lab.tasks.sequences.addition import ADDITION, MULTIPLICATION
from steadystep.lab.tasks.sequences.latch import LATCH
from steadystep.lab.tasks.sequences.memorization import MEMORIZATION
from steadystep.lab.tasks.sequences.permutation import PERMUTATION
from steadystep.lab.tasks.sequences.problem import Problem
from steadystep.lab.tasks.sequences.temporal_order import TEMPORAL_ORDER, TEMPORAL_ORDER_3BIT

PROBLEMS: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        ADDITION, MULTIPLICATION, TEMPORAL_ORDER, TEMPORAL_ORDER_3BIT, PERMUTATION, MEMORIZATION, LATCH,
    )
}  # fmt: skip
