"""The latch problem: store one bit from the start of a sequence despite noise."""

import numpy as np

from steadystep.lab.tasks.sequences.problem import Problem, Sequences

SIGNAL_STEPS = 3
VARIANCE = 0.2


def draw(random: np.random.RandomState, examples: int, length: int) -> Sequences:
    """Draw sequences of T numbers: three times +1 or three times -1, then noise from N(0, 0.2).

    The target is whether the first numbers were +1. Signal and noise enter through the same weight, so a network
    cannot suppress the noise without suppressing the signal.
    Source: the two-sequence problem of Bengio, Simard & Frasconi (1994), section III, as Hochreiter & Schmidhuber
    (1997), experiment 3, define it.
    """
    bit = random.randint(0, 2, examples)
    x = random.normal(scale=VARIANCE**0.5, size=(examples, length, 1)).astype(np.float32)
    x[:, :SIGNAL_STEPS, 0] = 2 * bit[:, None] - 1
    return Sequences(x, bit.astype(np.int64))


LATCH = Problem("latch", "Latch of one bit", draw, SIGNAL_STEPS + 1, inputs=1, outputs=2, guess=2)
