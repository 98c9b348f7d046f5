"""The temporal order problems: classify sequences by the order of their relevant symbols."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from steadystep.lab.tasks.sequences.problem import Problem, Sequences, random_positions

DISTRACTORS = 4
"""Symbols 0 to 3 are distractors; 4 and 5 are the relevant symbols A and B."""


def draw(random: np.random.RandomState, examples: int, length: int, *, tenths: Sequence[int]) -> Sequences:
    """Draw sequences of T distractors, uniform in {c, d, e, f}, with one of {A, B} at each of two or three positions.

    The i-th position is uniform in [tᵢ T/10, (tᵢ + 1) T/10), with t = 1, 4 for two symbols and t = 1, 3, 6 for three.
    The class is the sequence of relevant symbols: AA, AB, BA or BB, or one of AAA to BBB.
    Source: Pascanu, Mikolov & Bengio (2013), section 4.1 and supplement, after Hochreiter & Schmidhuber (1997),
    experiments 6a and 6b.
    """
    x = random.randint(0, DISTRACTORS, (examples, length)).astype(np.uint8)
    y = np.zeros(examples, np.int64)
    for tenth in tenths:
        position = random_positions(random, tenth * length // 10, (tenth + 1) * length // 10, examples)
        bit = random.randint(0, 2, examples)
        x[np.arange(examples), position] = DISTRACTORS + bit
        y = 2 * y + bit
    return Sequences(x, y)


TEMPORAL_ORDER = Problem(
    "temporal-order",
    "Temporal order of two symbols",
    partial(draw, tenths=(1, 4)),
    10,
    inputs=DISTRACTORS + 2,
    outputs=4,
    guess=4,
)
TEMPORAL_ORDER_3BIT = Problem(
    "temporal-order-3bit",
    "Temporal order of three symbols",
    partial(draw, tenths=(1, 3, 6)),
    10,
    inputs=DISTRACTORS + 2,
    outputs=8,
    guess=8,
)
