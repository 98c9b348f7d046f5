"""How many seeds the arms of a study have."""

from collections.abc import Sequence

from steadystep.lab.counted import count
from steadystep.lab.study.records import Results

SPENDING = {"pocock": "Pocock's", "obrien-fleming": "O'Brien and Fleming's"}


def paired_seeds(results: Results) -> str:
    """Return the number of paired seeds of the arms, such as "10 to 80 paired seeds"."""
    return _range_of([len(results.final[arm.name, results.study.epochs]) for arm in results.study.arms], "paired seed")


def seeds_of_all_budgets(results: Results) -> str:
    """Return the number of seeds of the arms at all budgets, such as "10 to 80 seeds"."""
    return _range_of([len(runs) for runs in results.final.values()], "seed")


def fewest_seeds(results: Results) -> int:
    """Return the number of seeds of the arm and budget with the fewest."""
    return min(map(len, results.final.values()))


def _range_of(runs: Sequence[int], noun: str) -> str:
    fewest, most = min(runs), max(runs)
    return count(most, noun) if fewest == most else f"{fewest} to {count(most, noun)}"


def looks_words(results: Results) -> str:
    """Return how a study went on until its pairs were decided, as sentences; "" if it did not."""
    study = results.study
    if study.until_decided is None:
        return ""
    *first, last = map(str, study.looks)
    return (
        f" Pairs were looked at with {', '.join(first)} and at most {last} seeds, and got more seeds until they were "
        "decided. A pair's numbers are those of the look that decided it. A p value is that of all looks so far, with "
        f"{SPENDING[study.until_decided.spending]} alpha-spending function."
    )
