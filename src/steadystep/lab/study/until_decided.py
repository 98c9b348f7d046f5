"""More seeds, until every pair of arms is decided."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from steadystep.lab.choices import Spending
from steadystep.lab.tasks.fields import Count

DOUBLINGS = 3
"""How often the number of seeds is doubled at most, unless a task says otherwise."""


class UntilDecided(BaseModel):
    """The numbers of seeds at which a study looks at its pairs again, until every one is decided.

    A study looks first at its number of seeds. Arms whose pairs are all decided get no more seeds; the last look is
    the cap. How strict each look is follows from the spending function, so that all looks together make a false claim
    as rarely as one.

    Args:
        looks: numbers of seeds, increasing.
        spending: the alpha-spending function, "pocock" or "obrien-fleming". Default "pocock", which decides clear
            cases early.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    looks: tuple[Count, ...] = Field(min_length=1)
    spending: Spending = "pocock"

    @field_validator("looks")
    @classmethod
    def _looks_rise(cls, looks: tuple[int, ...]) -> tuple[int, ...]:
        if list(looks) != sorted(set(looks)):
            raise ValueError(f"looks must increase and not repeat, got {looks}")
        return looks


def doubled(seeds: int, times: int = DOUBLINGS) -> UntilDecided:
    """Return looks at twice as many seeds each time.

    >>> doubled(10).looks
    (20, 40, 80)
    """
    return UntilDecided(looks=tuple(seeds * 2**time for time in range(1, times + 1)))
