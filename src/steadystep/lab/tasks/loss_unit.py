"""Units in which losses are reported, such as perplexity."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class LossUnit:
    """A unit of the loss: its name, and the function that converts a mean loss in nats to it.

    The function must be increasing, so that it maps the ends of a confidence interval to the ends of the interval.

    >>> LossUnit("bits", lambda nats: nats / math.log(2)).of(math.log(4))
    2.0
    """

    name: str
    of: Callable[[float], float]


def _perplexity(nats: float) -> float:
    # The largest float64 is about e^709.8, so a larger loss has no finite perplexity.
    return math.exp(nats) if nats < 709 else math.inf


def _bits(nats: float) -> float:
    return nats / math.log(2)


PERPLEXITY = LossUnit("perplexity", _perplexity)
BITS = LossUnit("bits", _bits)
