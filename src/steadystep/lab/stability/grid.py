"""Learning rates to sweep: as a person writes them, or around those that a task declares."""

import math
from collections.abc import Sequence

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.arms import geometric_grid

DECADES = 3
"""How far a default grid reaches to each side of its centre."""

PER_DECADE = 2
"""Points of a default grid in each decade."""

_ACCEPTED = "give LOW:HIGH:POINTS, such as 1e-4:10:11, or two or more learning rates, such as 0.001,0.01,0.1"


def parse_grid(text: str) -> tuple[float, ...]:
    """Learning rates from LOW:HIGH:POINTS, at equal ratios, or from a list with commas; rising, each once.

    Raises:
        UserError: in one line: what was given and what is accepted.

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
        raise UserError(f"{text!r} is no grid of learning rates: {_ACCEPTED}") from None
    return lrs


def grid_around(declared: Sequence[float]) -> tuple[float, ...]:
    """Half-decades, three decades to each side of the geometric centre of the learning rates that an arm declares.

    >>> grid_around((0.001, 0.1))[0], grid_around((0.001, 0.1))[6], grid_around((0.001, 0.1))[-1]
    (1e-05, 0.01, 10.0)
    """
    middle = math.log10(min(declared) * max(declared)) / 2
    # On powers of ten and their halves, so that the grids of several optimizers share their points.
    centre = round(middle * PER_DECADE) / PER_DECADE
    return geometric_grid(10 ** (centre - DECADES), 10 ** (centre + DECADES), 2 * DECADES * PER_DECADE + 1)
