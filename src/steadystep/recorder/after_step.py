"""Let several boxes follow one optimizer, which calls one function after each of its steps."""

from typing import Any

from steadystep.recorder.measures import Finished


class _Several:
    """Calls some functions in turn."""

    def __init__(self, functions: list[Finished]) -> None:
        self.functions = functions

    def __call__(self, error: BaseException | None) -> None:
        for function in list(self.functions):
            function(error)


def attach(optimizer: Any, finished: Finished) -> None:
    """Have a function called after each step, besides those that are called already."""
    present = optimizer._after_step
    if present is None:
        optimizer._after_step = finished
    elif isinstance(present, _Several):
        present.functions.append(finished)
    else:
        optimizer._after_step = _Several([present, finished])


def detach(optimizer: Any, finished: Finished | None) -> None:
    """No longer have the function called."""
    present = optimizer._after_step
    if isinstance(present, _Several):
        present.functions = [each for each in present.functions if each != finished]
        if len(present.functions) == 1:
            optimizer._after_step = present.functions[0]
    elif present == finished:
        optimizer._after_step = None
