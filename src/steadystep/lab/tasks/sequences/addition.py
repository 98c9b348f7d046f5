"""The addition and multiplication problems: the mean or the product of two marked numbers in a sequence."""

from functools import partial

import numpy as np

from steadystep.lab.tasks.sequences.problem import Problem, Sequences


def draw(random: np.random.RandomState, examples: int, length: int, *, product: bool) -> Sequences:
    """Draw sequences of T' steps with two channels: a number, uniform in [0, 1), and a mark.

    T' is uniform in [T, 11/10 T]. Two steps are marked by 1, all others by 0. The first is uniform among the first
    T'/10 steps, the second among the following steps up to T'/2. The target is half the sum of the two numbers, or
    their product. Shorter sequences are padded with zeros at the front, in both channels.
    Source: Pascanu, Mikolov & Bengio (2013), supplement, after Hochreiter & Schmidhuber (1997), experiments 4 and 5.
    """
    steps = length + length // 10
    lengths = random.randint(length, steps + 1, examples)
    begins = steps - lengths
    tenths = lengths // 10
    first = begins + (random.random_sample(examples) * tenths).astype(int)
    second = begins + tenths + (random.random_sample(examples) * (lengths // 2 - tenths)).astype(int)
    rows = np.arange(examples)
    x = np.zeros((examples, steps, 2), np.float32)
    x[..., 0] = random.random_sample((examples, steps)) * (np.arange(steps) >= begins[:, None])
    x[rows, first, 1] = x[rows, second, 1] = 1
    a, b = x[rows, first, 0], x[rows, second, 0]
    return Sequences(x, a * b if product else (a + b) / 2)


# Accuracy of a constant: |mean - 1/2| < 0.04 has probability 0.154, and |product - 1/4| < 0.04 has probability 0.11.
# Variances: that of the mean of two uniform numbers is 1/12 / 2, and that of their product (1/3)^2 - (1/4)^2.
ADDITION = Problem(
    "addition",
    "Addition of two marked numbers",
    partial(draw, product=False),
    10,
    inputs=2,
    outputs=1,
    guess=7,
    variance=1 / 24,
)
MULTIPLICATION = Problem(
    "multiplication",
    "Multiplication of two marked numbers",
    partial(draw, product=True),
    10,
    inputs=2,
    outputs=1,
    guess=9,
    variance=7 / 144,
)
