"""Units in which a field reads its losses."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class LossUnit:
    """A name, and how a mean loss in nats is read in it: rising, so that the ends of an interval stay its ends.

    >>> LossUnit("bits", lambda nats: nats / math.log(2)).of(math.log(4))
    2.0
    """

    name: str
    of: Callable[[float], float]


def _perplexity(nats: float) -> float:
    # e^709.8 is the largest float; a loss above that has no perplexity to speak of.
    return math.exp(nats) if nats < 709 else math.inf


def _bits(nats: float) -> float:
    return nats / math.log(2)


PERPLEXITY = LossUnit("perplexity", _perplexity)
BITS = LossUnit("bits", _bits)
