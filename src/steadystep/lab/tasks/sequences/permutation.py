"""The first symbol of a sequence comes again at its end."""

import numpy as np

from steadystep.lab.tasks.sequences.problem import Problem, Sequences

SYMBOLS = 100
ENDS = 2
"""Symbols 0 and 1 come at the ends, and nowhere else."""


def draw(random: np.random.RandomState, examples: int, length: int) -> Sequences:
    """Sequences of T of 100 symbols: the first and the last are the same one of two, the others any of the other 98.

    The last is to be told, as one of all 100, from those before it. No other symbol can be predicted, so no other
    is asked for: its loss would be noise.
    Source: Pascanu, Mikolov & Bengio (2013), supplement, after Hochreiter & Schmidhuber (1997), experiment 2.
    """
    x = random.randint(ENDS, SYMBOLS, (examples, length - 1)).astype(np.uint8)
    ends = random.randint(0, ENDS, examples)
    x[:, 0] = ends
    return Sequences(x, ends.astype(np.int64))


# A guess that knows which symbols end a sequence has to choose between two.
PERMUTATION = Problem("permutation", "Random permutation", draw, 3, inputs=SYMBOLS, outputs=SYMBOLS, guess=ENDS)
