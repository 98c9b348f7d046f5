"""Ticks for a logarithmic axis, as few or as dense as its range asks for."""

import math

DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), tuple(range(1, 10)))
"""Leading digits of the ticks, ever denser."""


def log_ticks(low: float, high: float, at_least: int = 4) -> list[float]:
    """The coarsest series with enough ticks from `low` to `high`; in a narrow range, ticks at equal distances.

    >>> log_ticks(0.01, 20)
    [0.01, 0.1, 1.0, 10.0]
    >>> log_ticks(1, 6)
    [1.0, 2.0, 3.0, 5.0]
    >>> log_ticks(0.9, 2.6)
    [1.0, 1.5, 2.0, 2.5]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in DIGITS:
        # Through decimal text: 0.3, not 3 * 0.1.
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
