"""Caveats that a reader needs to interpret the results."""

from steadystep.lab.counted import count
from steadystep.lab.report.cells import percent, setting
from steadystep.lab.report.headline import headline_rows
from steadystep.lab.report.seeds import fewest_seeds, seeds_of_all_budgets
from steadystep.lab.report.tuning_words import tuning_words
from steadystep.lab.statistics.reported import FEWEST, TOO_FEW
from steadystep.lab.statistics.summary import ArmSummary, Summary
from steadystep.lab.study.records import Results
from steadystep.lab.tasks.task import Task

ONLY = "only one"


def notes(results: Results, summary: Summary) -> tuple[str, ...]:
    """Return notes about tuning, diverged runs, learning rates at the edge of the search, and tasks without claims."""
    rows = headline_rows(results, summary)
    texts = [f"{seeds_of_all_budgets(results)} per arm: {TOO_FEW}."] if fewest_seeds(results) < FEWEST else []
    texts.append(tuning_words(results))
    if results.test_seen:
        texts.append(
            f"Test seen: the study got its present declaration when it had {count(results.test_seen, 'test result')}. "
            "Its verdicts are not those of a design that was declared before."
        )
    texts += [_diverged(row, results.task) for row in rows if row.diverged]
    texts += [
        f"{row.arm}: the chosen learning rate, {setting(row.lr)}, is the {place}"
        f"{'' if place == ONLY else ' of those'} tried. A wider search may do better."
        for row in rows
        if row.edge and (place := edge(results, row))
    ]
    if results.task.claims and results.task.unlike_paper:
        texts.append(f"The paper's numbers are not comparable: {results.task.unlike_paper}.")
    if not results.task.claims:
        texts.append(f"The paper makes no claim about this task's data: {results.task.dataset}.")
    return tuple(texts)


def edge(results: Results, row: ArmSummary) -> str:
    """Return whether the chosen learning rate is the lowest or the highest of those tried, or the only one."""
    tried = {run.trial.lr for run in results.tuning[row.arm, row.budget]}
    if len(tried) == 1:
        return ONLY
    return "lowest" if row.lr <= min(tried) else "highest"


def _diverged(row: ArmSummary, task: Task) -> str:
    return f"{row.arm}: {diverged_text(row.diverged, row.runs)}{_rate(row)}. {_consequence(row, task)}"


def diverged_text(diverged: int, runs: int) -> str:
    """Return the number of diverged runs as the beginning of a sentence.

    >>> diverged_text(1, 10), diverged_text(10, 10), diverged_text(0, 1)
    ('1 of 10 runs diverged', 'all 10 runs diverged', 'its run did not diverge')
    """
    if runs == 1:
        return "its run diverged" if diverged else "its run did not diverge"
    if diverged == runs:
        return f"all {count(runs, 'run')} diverged"
    return f"{diverged or 'none'} of {count(runs, 'run')} diverged"


def _rate(row: ArmSummary) -> str:
    """Return the interval of the divergence rate in brackets."""
    if row.runs < FEWEST:
        return f" ({TOO_FEW} of the rate)"
    low, high = percent(row.divergence_rate.low, 0), percent(row.divergence_rate.high, 0)
    return f" (95% interval of the rate {low if low == high else f'{low} to {high}'}%)"


def _consequence(row: ArmSummary, task: Task) -> str:
    """Return how the accuracy and the verdicts take diverged runs into account."""
    finished, guess = (
        row.runs - row.diverged,
        f"in verdicts a diverged run counts as a guess, {percent(task.chance, 1)}%.",
    )
    if not finished:
        return f"It has no accuracy; {guess}"
    of = "the finished runs" if finished > 1 else "the run that finished"
    few = f", {TOO_FEW}" if finished < FEWEST <= row.runs else ""
    return f"The accuracy is that of {of}{few}; {guess}"
