"""The tables of the search space for tuning and of the chosen settings."""

from steadystep.lab.counted import count
from steadystep.lab.report.cells import NOTHING, clip, join_with_and, setting
from steadystep.lab.report.notes import edge
from steadystep.lab.report.table import Column, Table
from steadystep.lab.statistics.summary import ArmSummary, Summary
from steadystep.lab.study.records import Results
from steadystep.lab.study.spec import Arm


def search_table(results: Results) -> Table:
    """Return the search space at the largest budget, with one row per arm."""
    return Table.of(
        "Search space",
        [
            Column("Arm"),
            Column("Optimizer", kind="prose"),
            Column("Learning rates", kind="prose"),
            Column("Clip thresholds", kind="prose"),
            Column("Settings tried", kind="number"),
        ],
        [
            [
                arm.name,
                _optimizer(arm),
                ", ".join(setting(lr) for lr in _rates(results, arm)),
                _thresholds(results, arm),
                str(_settings(results, arm)),
            ]
            for arm in results.study.arms
        ],
        f"Every arm tries the same number of settings, each with {count(results.study.tune_seeds, 'seed')} not used in "
        "final runs.",
        "So it does at every budget. Clip thresholds are quantiles of the gradient norms that the unclipped twin "
        "recorded at its best learning rate; those at the largest budget are shown."
        + (
            f" While the best learning rate of an arm was the lowest or the highest, every arm tried further settings, "
            f"in at most {count(results.study.widen, 'round')}."
            if results.study.widen
            else ""
        ),
    )


def chosen_table(results: Results, summary: Summary) -> Table:
    """Return the chosen settings, with one row per arm and one column per budget."""
    study, rows = results.study, {(row.arm, row.budget): row for row in summary.arms}
    return Table.of(
        "Chosen lr and clip threshold",
        [
            Column("Arm"),
            *(Column(count(budget, "epoch")) for budget in study.budgets),
            Column("Tuning", "runs", "number"),
            Column("Diverged", "runs", "number"),
        ],
        [
            [
                arm.name,
                *(_chosen(results, rows[arm.name, budget]) for budget in study.budgets),
                str(sum(rows[arm.name, budget].tuning_runs for budget in study.budgets)),
                str(sum(rows[arm.name, budget].tuning_diverged for budget in study.budgets)),
            ]
            for arm in study.arms
        ],
        "Lowest, highest: at the edge of the searched learning rates, where a wider search may do better.",
        "Chosen by validation accuracy over the tuning seeds, separately for each budget.",
    )


def _rates(results: Results, arm: Arm) -> list[float]:
    """Return the learning rates that were tried at the largest budget."""
    return sorted({run.trial.lr for run in results.tuning[arm.name, results.study.epochs]})


def _settings(results: Results, arm: Arm) -> int:
    """Return the number of settings that were tried at the largest budget."""
    return len({(run.trial.lr, run.trial.clip) for run in results.tuning[arm.name, results.study.epochs]})


def _chosen(results: Results, row: ArmSummary) -> str:
    chosen = results.chosen[row.arm, row.budget]
    setting_text = f"{setting(row.lr)}, {clip(chosen)}" if chosen.clip else setting(row.lr)
    return f"{setting_text} ({edge(results, row)})" if row.edge else setting_text


def _optimizer(arm: Arm) -> str:
    """Return the optimizer of an arm with its options.

    >>> _optimizer(Arm(name="SGD", optimizer="SGD", options={"momentum": 0.9}, lrs=(0.1,)))
    'SGD(momentum=0.9)'
    """
    options = ", ".join(f"{name}={value}" for name, value in arm.options.items())
    return f"{arm.optimizer}({options})" if options else arm.optimizer


def _thresholds(results: Results, arm: Arm) -> str:
    if not arm.clip:
        return NOTHING
    tried = {run.trial.clip.threshold for run in results.tuning[arm.name, results.study.epochs] if run.trial.clip}
    values = ", ".join(setting(value) for value in sorted(tried))
    if arm.thresholds:
        return f"{arm.clip} {values}"
    quantiles = join_with_and([f"{100 * quantile:g}%" for quantile in arm.quantiles])
    return f"{arm.clip} at the {quantiles} quantiles: {values}"
