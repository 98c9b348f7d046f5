"""How many seeds the arms of a study have."""

from steadystep.lab.counted import count
from steadystep.lab.study.records import Results

SPENDING = {"pocock": "Pocock's", "obrien-fleming": "O'Brien and Fleming's"}


def paired_seeds(results: Results) -> str:
    """Return the number of paired seeds of the arms, such as "10 to 80 paired seeds"."""
    runs = [len(results.final[arm.name, results.study.epochs]) for arm in results.study.arms]
    fewest, most = min(runs), max(runs)
    return count(most, "paired seed") if fewest == most else f"{fewest} to {count(most, 'paired seed')}"


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
