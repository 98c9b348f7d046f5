"""Ticks for a logarithmic axis, at a density that suits its range."""

import math

DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), tuple(range(1, 10)))
"""Leading digits of the ticks, in increasing density."""


def log_ticks(low: float, high: float, at_least: int = 4) -> list[float]:
    """Return the coarsest series with enough ticks from `low` to `high`, or equidistant ticks for a narrow range.

    >>> log_ticks(0.01, 20)
    [0.01, 0.1, 1.0, 10.0]
    >>> log_ticks(1, 6)
    [1.0, 2.0, 3.0, 5.0]
    >>> log_ticks(0.9, 2.6)
    [1.0, 1.5, 2.0, 2.5]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in DIGITS:
        # Converting from decimal text gives 0.3 exactly as written; 3 * 0.1 does not.
        series = (float(f"{digit}e{power}") for power in powers for digit in digits)
        ticks = [tick for tick in series if low <= tick <= high]
        if len(ticks) >= at_least:
            return ticks
    power = math.floor(math.log10(high - low))
    for step in (float(f"{digit}e{exponent}") for exponent in (power, power - 1) for digit in (5, 2, 1)):
        count = range(math.ceil(low / step), math.floor(high / step) + 1)
        if len(count) >= at_least:
            return [float(f"{i * step:.12g}") for i in count]
    return [low, high]
