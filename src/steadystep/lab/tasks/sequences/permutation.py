"""The random permutation problem: the first symbol of a sequence is repeated at its end."""

import numpy as np

from steadystep.lab.tasks.sequences.problem import Problem, Sequences

SYMBOLS = 100
ENDS = 2
"""Symbols 0 and 1 occur only at the ends of a sequence."""


def draw(random: np.random.RandomState, examples: int, length: int) -> Sequences:
    """Draw sequences of T symbols: the first and last are the same one of 2 symbols, the rest are any of 98 others.

    The target is the last symbol, as one of all 100 symbols, given those before it. No other symbol can be predicted,
    so there are no other targets: their loss would be noise.
    Source: Pascanu, Mikolov & Bengio (2013), supplement, after Hochreiter & Schmidhuber (1997), experiment 2.
    """
    x = random.randint(ENDS, SYMBOLS, (examples, length - 1)).astype(np.uint8)
    ends = random.randint(0, ENDS, examples)
    x[:, 0] = ends
    return Sequences(x, ends.astype(np.int64))


# A guess that knows which symbols occur at the end still has to choose between two.
PERMUTATION = Problem("permutation", "Random permutation", draw, 3, inputs=SYMBOLS, outputs=SYMBOLS, guess=ENDS)
