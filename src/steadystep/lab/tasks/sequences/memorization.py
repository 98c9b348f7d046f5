"""The memorization problem: repeat a pattern of bits after a long pause."""

import numpy as np

from steadystep.lab.tasks.sequences.problem import Problem, Sequences

BITS = 5
BLANK, CUE = 2, 3


def draw(random: np.random.RandomState, examples: int, length: int) -> Sequences:
    """Draw sequences of five bits, T steps of which the last is a cue and the others are blank, and five more blanks.

    The targets of the last five steps are the five bits, one per step. A sequence is correct if all five bits are.
    Source: Pascanu, Mikolov & Bengio (2013), supplement, noiseless memorization; the cue as in Jaeger, Long
    short-term memory in echo state networks (2012), section 2.
    """
    y = random.randint(0, 2, (examples, BITS))
    x = np.full((examples, BITS + length + BITS), BLANK, np.uint8)
    x[:, :BITS] = y
    x[:, BITS + length - 1] = CUE
    return Sequences(x, y.astype(np.int64))


MEMORIZATION = Problem(
    "memorization", "Noiseless memorization of five bits", draw, 1, inputs=4, outputs=2, guess=2**BITS, read=BITS
)
