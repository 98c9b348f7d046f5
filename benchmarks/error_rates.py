"""`python -m benchmarks.error_rates`: how often a study's verdicts are wrong, and how many seeds they take.

Studies are simulated with accuracies of several shapes. Whatever is said of arms that are equal, or that differ by
exactly the margin, is known to be false. The rates are written to benchmarks/results/error_rates.json and to the table
of docs/verdicts.md.
"""

import gc
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.written_block import with_block
from steadystep.lab.statistics.intervals import wilson_interval
from steadystep.lab.statistics.summary import Verdict
from steadystep.lab.statistics.verdicts import judge_looks
from steadystep.lab.system.atomic import write_atomic

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "error_rates.json"
PAGE = ROOT / "docs" / "verdicts.md"
REPETITIONS = 4_000
MARGIN = 0.005
EXAMPLES = 360
Draw = Callable[[np.random.Generator, int, int], np.ndarray]
"""Returns the accuracies of arms on seeds, all with the same mean: (arms, seeds)."""


def normal(random: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
    return 0.95 + 0.003 * random.standard_normal(seeds) + 0.004 * random.standard_normal((arms, seeds))


def heavy_tails(random: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
    return 0.95 + 0.004 * random.standard_t(3, (arms, seeds)) / np.sqrt(3)


def outliers(random: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
    lost = random.random((arms, seeds)) < 0.05
    return normal(random, arms, seeds) - 0.03 * lost


def lognormal(random: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
    return 1 - 0.05 * random.lognormal(0, 0.1, (arms, seeds))


def ceiling(random: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
    return random.binomial(EXAMPLES, 0.9985, (arms, seeds)) / EXAMPLES


def few_examples(random: np.random.Generator, arms: int, seeds: int) -> np.ndarray:
    return random.binomial(EXAMPLES, 0.97, (arms, seeds)) / EXAMPLES


SHAPES: Mapping[str, Draw] = {
    "normal": normal,
    "heavy tails (t with 3 degrees of freedom)": heavy_tails,
    "outliers (5% lose 3 points)": outliers,
    "lognormal errors": lognormal,
    "ceiling (99.85% of 360 examples)": ceiling,
    "360 examples at 97%": few_examples,
}


@dataclass(frozen=True)
class Design:
    """The looks of a study."""

    name: str
    looks: tuple[int, ...]
    spending: str = "pocock"


DESIGNS = (
    Design("10 seeds", (10,)),
    Design("2 seeds", (2,)),
    Design("10 to 160 seeds, Pocock", (10, 20, 40, 80, 160)),
    Design("10 to 160 seeds, O'Brien-Fleming", (10, 20, 40, 80, 160), "obrien-fleming"),
)


@dataclass(frozen=True)
class Rates:
    """What was said in simulated studies.

    Attributes:
        false_difference: studies of three equal arms with a pair that is called better or worse, and its interval.
        false_equivalence: pairs that differ by the margin and are called equivalent, and its interval.
        decided: pairs of equal arms that are called equivalent.
        seeds: the mean number of seeds of an arm in studies of equal arms.
    """

    design: str
    shape: str
    repetitions: int
    false_difference: tuple[float, float, float]
    false_equivalence: tuple[float, float, float]
    decided: float
    seeds: float


def judged(accuracies: np.ndarray, design: Design) -> tuple[Verdict, ...]:
    """Return the verdicts of a study with these accuracies; as in a study, decided arms get no more seeds."""
    arms, looks, open_arms = range(len(accuracies)), [], set(range(len(accuracies)))
    found: tuple[Verdict, ...] = ()
    for seeds in design.looks:
        pairs = [(b, a) for a, b in combinations(arms, 2) if {a, b} <= open_arms]
        looks.append({(str(b), str(a)): tuple(accuracies[[b, a], :seeds].tolist()) for b, a in pairs})
        found = judge_looks(looks, MARGIN, design.looks, design.spending)  # type: ignore[arg-type]
        undecided = [verdict for verdict in found if verdict.verdict == "undecided"]
        open_arms = {int(arm) for verdict in undecided for arm in (verdict.arm, verdict.against)}
        if not undecided:
            break
    return found


def rates(design: Design, shape: str, repetitions: int, seed: int = 0) -> Rates:
    """Simulate studies with accuracies of one shape."""
    random, draw = np.random.default_rng(seed), SHAPES[shape]
    different = equal = 0
    decided: list[bool] = []
    used: list[int] = []
    for _ in range(repetitions):
        found = judged(draw(random, 3, design.looks[-1]), design)
        different += any(verdict.verdict in ("better", "worse") for verdict in found)
        decided += [verdict.verdict == "equivalent" for verdict in found]
        used += [
            max(verdict.seeds for verdict in found if arm in (verdict.arm, verdict.against)) for arm in ("0", "1", "2")
        ]
        apart = draw(random, 2, design.looks[-1])
        apart[1] -= MARGIN
        equal += judged(apart, design)[0].verdict == "equivalent"
    return Rates(
        design=design.name,
        shape=shape,
        repetitions=repetitions,
        false_difference=_share(different, repetitions),
        false_equivalence=_share(equal, repetitions),
        decided=float(np.mean(decided)),
        seeds=float(np.mean(used)),
    )


def _share(count: int, of: int) -> tuple[float, float, float]:
    interval = wilson_interval(count, of)
    return interval.mean, interval.low, interval.high


@contextmanager
def cheap_collections() -> Iterator[None]:
    """Exclude existing objects from garbage collection, which statsmodels runs in every call of Holm's method."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def table(found: Sequence[Rates]) -> str:
    """Return the rates as Markdown."""
    rows = [
        "| seeds | accuracies | falsely better or worse | falsely equivalent | equal called equivalent | seeds used |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for each in found:
        wrong = [
            f"{100 * m:.1f}% [{100 * a:.1f}, {100 * b:.1f}]"
            for m, a, b in (each.false_difference, each.false_equivalence)
        ]
        rows.append(
            f"| {each.design} | {each.shape} | {wrong[0]} | {wrong[1]} | {each.decided:.0%} | {each.seeds:.0f} |"
        )
    return "\n".join(rows)


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else REPETITIONS
    console, found = Console(), []
    with cheap_collections():
        cells = [(design, shape) for design in DESIGNS for shape in SHAPES]
        for design, shape in track(cells, "simulating", console=console):
            found.append(rates(design, shape, repetitions))
    write_atomic(RESULTS, json.dumps([asdict(each) for each in found], indent=1).encode())
    write_page(found)
    console.print(table(found))


def write_page(found: Sequence[Rates]) -> None:
    """Write the table into the documentation."""
    text = with_block(PAGE.read_text(encoding="utf-8"), "error rates", "benchmarks/error_rates.py", table(found))
    write_atomic(PAGE, text.encode())


if __name__ == "__main__":
    main()
