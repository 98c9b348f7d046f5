"""The main table of a study."""

from steadystep.lab.counted import count
from steadystep.lab.report.cells import (
    NOTHING,
    clip,
    estimate,
    loss_estimate,
    mean_words,
    percent,
    quantity,
    setting,
    share,
)
from steadystep.lab.report.headline import claim_text, headline_rows
from steadystep.lab.report.seeds import fewest_seeds, paired_seeds
from steadystep.lab.report.table import Column, Table
from steadystep.lab.report.tables.convergence import convergence_of, epochs_text
from steadystep.lab.report.timing_words import timing_note
from steadystep.lab.statistics.convergence import BUDGET_TO_TARGET, EPOCHS_TO_TARGET
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results
from steadystep.lab.tasks.task import Task


def results_table(results: Results, summary: Summary) -> Table:
    """Return one row per arm at the headline budget, with the paper's claims if it makes any for the task."""
    study, task, arms = results.study, results.task, headline_rows(results, summary)
    rows = [
        [
            row.arm,
            estimate(row.test_accuracy),
            claim_text(task, row),
            setting(row.lr),
            clip(results.chosen[row.arm, row.budget]),
            epochs_text(convergence_of(summary, row.arm, BUDGET_TO_TARGET), study.epochs),
            epochs_text(convergence_of(summary, row.arm, EPOCHS_TO_TARGET), study.epochs),
            NOTHING if row.threshold is None else percent(row.clip_rate, 1),
            f"{row.diverged}/{row.runs}",
            quantity(row.step_ms),
            share(row.optimizer_ms, row.step_ms),
        ]
        for row in arms
    ]
    table = Table.of(
        f"Results after {count(study.epochs, 'epoch')}",
        _columns(task, fewest_seeds(results)),
        rows,
        details=f"The mean is over {paired_seeds(results)}. lr and clip threshold were tuned on "
        f"validation data, and the target is {percent(task.target_accuracy, 1)}% validation accuracy. Optimizer: "
        "including clipping."
        + (f" Test loss: {mean_words(fewest_seeds(results), 'mean and 95% interval')}." if task.loss_unit else "")
        + timing_note(arms),
    )
    for name in reversed(list(task.recipe.also)):
        shares = [estimate(row.test_also[name]) for row in arms]
        table = table.with_column(2, Column(f"Test {name}", "%", "number"), shares)
    if task.loss_unit:
        losses = [loss_estimate(row.test_loss, task.loss_unit) for row in arms]
        table = table.with_column(2, Column("Test loss", task.loss_unit.name, "number"), losses)
    return table if task.claims else table.without("Paper's claim")


def _columns(task: Task, seeds: int) -> tuple[Column, ...]:
    target = f"{percent(task.target_accuracy, 1)}%"
    return (
        Column("Arm"),
        Column("Test accuracy", "%", "number", meaning=mean_words(seeds)),
        Column("Paper's claim", kind="prose"),
        Column("lr", kind="number"),
        Column("Clip"),
        Column(
            "Budget to target",
            kind="number",
            group="convergence",
            narrow="Budget\nto target",
            meaning=f"smallest budget with which the mean reaches {target}",
        ),
        Column(
            "Epochs to target",
            kind="number",
            group="convergence",
            narrow="Epochs\nto target",
            meaning=f"median first epoch at {target}",
        ),
        Column("Clipped", "% of steps", "number", meaning="steps whose gradient was scaled down"),
        Column("Diverged", "runs", "number", meaning="runs that failed or learned nothing"),
        Column("Step", "ms", "number"),
        Column("Optimizer", "% of step", "number"),
    )
