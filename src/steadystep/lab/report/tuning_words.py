"""Tell how the arms of a study were tuned, and what that cost."""

from dataclasses import dataclass

from steadystep.lab.counted import count
from steadystep.lab.report.cells import join_with_and
from steadystep.lab.study.records import Results
from steadystep.lab.study.search import is_at_edge


@dataclass(frozen=True)
class TuningBudget:
    """What every arm was tuned with at the largest budget, and what tuning cost it at all budgets together."""

    settings: int  # that an arm tried, the added ones included
    added: int  # beyond the declared ones, because the best learning rate of an arm was at an edge
    seeds: int
    epochs: int  # of a tuning run
    final_epochs: int  # of a final run
    budgets: int
    arm_epochs: int  # of all tuning runs of an arm, at all budgets
    fewer: dict[str, int]  # the settings of arms that had fewer, because quantiles of theirs are one threshold
    edge: tuple[str, ...]  # arms whose best learning rate is the lowest or the highest that they tried


def tuning_budget(results: Results) -> TuningBudget:
    """Return the tuning budget of a study; where arms differ, that of the arm with the most."""
    study = results.study
    runs = {arm.name: results.tuning[arm.name, study.epochs] for arm in study.arms}
    tried = {name: len({(run.trial.lr, run.trial.clip) for run in of_arm}) for name, of_arm in runs.items()}
    settings = max(tried.values())
    everything = {
        arm.name: {
            run.trial.id: run.trial.epochs for budget in study.budgets for run in results.tuning[arm.name, budget]
        }
        for arm in study.arms
    }
    return TuningBudget(
        settings=settings,
        added=settings - max(arm.configurations for arm in study.arms),
        seeds=study.tune_seeds,
        epochs=min(study.epochs, study.tune_epochs or study.epochs),
        final_epochs=study.epochs,
        budgets=len(study.budgets),
        arm_epochs=max(sum(trials.values()) for trials in everything.values()),
        fewer={name: number for name, number in tried.items() if number < settings},
        edge=tuple(
            name
            for name, of_arm in runs.items()
            if is_at_edge((run.trial.lr for run in of_arm), results.chosen[name, study.epochs].lr)
        ),
    )


def tuning_words(results: Results) -> str:
    """Return the tuning budget as sentences, with what clipped arms take over from their unclipped twins."""
    spent = tuning_budget(results)
    added = f" ({spent.added} of them added at the edge of a search)" if spent.added > 0 else ""
    long = "as many epochs as a final run"
    if spent.epochs < spent.final_epochs:
        long = f"{count(spent.epochs, 'epoch')} instead of the {spent.final_epochs} of a final run"
    where = f" at each of {spent.budgets} budgets" if spent.budgets > 1 else ""
    words = (
        f"Every arm was tuned with {count(spent.settings, 'setting')}{added}{where}, each with "
        f"{count(spent.seeds, 'seed')} and {long}: {count(spent.arm_epochs, 'epoch')} per arm."
    )
    for name, number in spent.fewer.items():
        words += f" Quantiles of {name} gave the same threshold, so that it had {count(number, 'setting')}."
    reusing = [arm for arm in results.study.arms if arm.quantiles]
    if not reusing:
        return words
    twins = list(dict.fromkeys(twin.name for arm in reusing if (twin := results.study.twin(arm))))
    return (
        f"{words} The thresholds of {join_with_and([arm.name for arm in reusing])} count as settings like the learning "
        f"rates; they come from the gradient norms of {join_with_and(twins)}'s tuning runs."
    )
