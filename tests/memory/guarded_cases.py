"""The cases that run with every tensor on guarded pages."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch

from cases import OPTIMIZERS, OptimizerCase
from memory.guarded_changes import CHANGES
from memory.guarded_pages import PLACES, Pages, Place
from memory.guarded_runs import CLIPS, SHAPES, Dtypes, clip_in_place, steps, steps_around_change, steps_under_guard
from memory.runs_outside import inside, reads_before, writes_after

ALIKE: tuple[Dtypes, ...] = tuple(
    (dtype, None) for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16)
)

MIXED: tuple[Dtypes, ...] = (
    (torch.bfloat16, torch.float32),
    (torch.float16, torch.float32),
    (torch.float32, torch.bfloat16),
    (torch.float32, torch.float16),
    (torch.float64, torch.float32),
    (torch.float32, torch.float64),
)

Run = Callable[[Pages], None]


@dataclass(frozen=True)
class Case:
    """One thing to do with all tensors on guarded pages."""

    label: str
    run: Run
    place: Place

    def __str__(self) -> str:
        return f"{self.label}, at the {self.place} of their pages"


def few_cases() -> list[Case]:
    """Return some cases of every kind: each row with some combination, and one row with most combinations."""
    adam = [row for row in OPTIMIZERS if row.name == "Adam"][:1]
    # Each row compiles kernels of its own: for all rows, only those that other tests need, too.
    few = list(product([*ALIKE[:2], *MIXED[2:]], list(CLIPS)[:-1], SHAPES))
    some = [(row, *few[7 * number % len(few)]) for number, row in enumerate(OPTIMIZERS)]
    alternating = [
        *_steps(product(adam, ALIKE, CLIPS, SHAPES)),
        *_steps(product(adam, MIXED, ("norm", "units", "chain"), SHAPES)),
    ]
    others = _others((*ALIKE, *MIXED), ("norm", "units"), ("small", "transposed"))
    return [*_at_both_ends([*_steps(some), *_changes(adam, (4,)), *others]), *_at_either_end(alternating)]


def all_steps() -> list[Case]:
    """Return steps of every row with every combination of dtype, clipping and sizes."""
    return _at_either_end(_steps(product(OPTIMIZERS, ALIKE, CLIPS, SHAPES)))


def all_gradient_dtypes() -> list[Case]:
    """Return the same with gradients of another dtype than their parameters."""
    return _at_either_end(_steps(product(OPTIMIZERS, MIXED, ("no clip", "norm", "units", "chain"), SHAPES)))


def all_changes() -> list[Case]:
    """Return every change in every row that has state, before a step of each kind: planned, captured and replayed."""
    return _at_both_ends(_changes(OPTIMIZERS[1:], (1, 2, 4)))


def all_others() -> list[Case]:
    """Return `guard` and `clip_gradients` with every combination."""
    return _at_both_ends(_others((*ALIKE, *MIXED), list(CLIPS)[:-1], tuple(SHAPES)))


def outside() -> list[Case]:
    """Return cases of which two leave their pages on purpose."""
    runs: tuple[tuple[Run, Place], ...] = ((inside, "end"), (reads_before, "start"), (writes_after, "end"))
    return [Case(run.__name__, run, place) for run, place in (*runs, runs[0])]


SETS = {make.__name__: make for make in (few_cases, all_steps, all_gradient_dtypes, all_changes, all_others, outside)}
"""The sets of cases by name, by which another process is told which to run."""


def _at_both_ends(runs: Iterable[tuple[str, Run]]) -> list[Case]:
    return [Case(label, run, place) for label, run in runs for place in PLACES]


def _at_either_end(runs: Iterable[tuple[str, Run]]) -> list[Case]:
    """Place runs at either end in turn. There is an odd number of sizes, so all else comes at both ends."""
    return [Case(*each, PLACES[number % 2]) for number, each in enumerate(runs)]


def _steps(combinations: Iterable[tuple[OptimizerCase, Dtypes, str, str]]) -> Iterator[tuple[str, Run]]:
    for row, dtypes, clip, sizes in combinations:
        yield f"{row}, {_text(dtypes)}, {clip}, {sizes}", partial(steps, row, dtypes, clip, sizes)


def _others(dtypes: Sequence[Dtypes], clips: Sequence[str], sizes: Sequence[str]) -> Iterator[tuple[str, Run]]:
    for pair, clip, size in product(dtypes, clips, sizes):
        for run in (steps_under_guard, clip_in_place):
            yield f"{run.__name__}, {_text(pair)}, {clip}, {size}", partial(run, pair, clip, size)


def _changes(rows: Sequence[OptimizerCase], when: Sequence[int]) -> Iterator[tuple[str, Run]]:
    for row, change, step in product(rows, CHANGES, when):
        yield f"{row}, {change.name} before step {step}", partial(steps_around_change, row, change, step)


def _text(dtypes: Dtypes) -> str:
    dtype, gradient = dtypes
    return str(dtype) if gradient is None else f"{dtype} with gradients in {gradient}"
