"""Grids of learning rates: parsed from the command line, or centred on the learning rates declared by a task."""

import math
from collections.abc import Sequence

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.arms import geometric_grid

DECADES = 3
"""Decades of a default grid on each side of its centre."""

PER_DECADE = 4
"""Points per decade of a default grid."""

_ACCEPTED = "use LOW:HIGH:POINTS, such as 1e-4:10:11, or two or more learning rates, such as 0.001,0.01,0.1"


def parse_grid(text: str) -> tuple[float, ...]:
    """Parse learning rates from LOW:HIGH:POINTS, a geometric grid, or from a comma-separated list.

    The result is sorted in ascending order and has no duplicates.

    Raises:
        UserError: if the text is not a grid. The message is one line and says what is accepted.

    >>> parse_grid("1e-3:10:5")
    (0.001, 0.01, 0.1, 1.0, 10.0)
    >>> parse_grid("0.1, 0.01")
    (0.01, 0.1)
    """
    try:
        if ":" in text:
            low, high, points = text.split(":")
            if not 0 < float(low) < float(high) < math.inf or int(points) < 2:
                raise ValueError
            return tuple(dict.fromkeys(geometric_grid(float(low), float(high), int(points))))
        lrs = tuple(sorted({float(part) for part in text.split(",")}))
        if len(lrs) < 2 or not all(0 < lr < math.inf for lr in lrs):
            raise ValueError
    except (ValueError, OverflowError):
        raise UserError(f"{text!r} is not a grid of learning rates: {_ACCEPTED}") from None
    return lrs


def grid_around(declared: Sequence[float]) -> tuple[float, ...]:
    """Return a grid of four rates per decade, three decades to each side of the centre of the declared learning rates.

    The centre is the geometric mean of the smallest and the largest declared learning rate, rounded to a half-decade.

    >>> grid_around((0.001, 0.1))[0], grid_around((0.001, 0.1))[12], grid_around((0.001, 0.1))[-1]
    (1e-05, 0.01, 10.0)
    """
    middle = math.log10(min(declared) * max(declared)) / 2
    # Rounded to half-decades, so that the grids of several optimizers share their points.
    centre = round(2 * middle) / 2
    return geometric_grid(10 ** (centre - DECADES), 10 ** (centre + DECADES), 2 * DECADES * PER_DECADE + 1)
