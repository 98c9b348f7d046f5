"""An operation on the tensors or groups of an optimizer between two steps, and what may come of it."""

from collections.abc import Callable
from dataclasses import dataclass

from memory.sides import Side


class NothingToDo(Exception):
    """An operation does not apply to the tensors as they are."""


@dataclass(frozen=True)
class Operation:
    """One thing that a user does to an optimizer between steps.

    Attributes:
        make: does it, given the side, a number that says to which parameter or group, and a seed for the rest.
        doubtful: a step may then have to be refused: torch says whether, and where there is no torch, the eager side.
        only_torch_refuses: torch refuses for a reason of its implementation; what the eager side does is right.
        only_torch_steps: torch takes a step in which tensors do not belong together; it may be refused here.
        refused: the next step must be refused.
        at_once: a step comes next, because reading the tensors in any other way could end the process.
        keeps_gradients: a step with the present gradients comes next.
        no_torch: torch would read freed memory, or defines something else: its side is left out.
        shares: parameters then have common memory.
    """

    make: Callable[[Side, int, int], None]
    doubtful: bool = False
    only_torch_refuses: bool = False
    only_torch_steps: bool = False
    refused: bool = False
    at_once: bool = False
    keeps_gradients: bool = False
    no_torch: bool = False
    shares: bool = False

    def __repr__(self) -> str:
        return self.make.__name__
