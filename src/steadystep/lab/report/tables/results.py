"""The main table."""

from steadystep.lab.report.cells import NOTHING, clip, count, estimate, loss_estimate, percent, quantity, setting, share
from steadystep.lab.report.headline import claim, headline_rows
from steadystep.lab.report.tables.convergence import converged, epochs
from steadystep.lab.report.tables.table import Column, Table
from steadystep.lab.report.timing_words import timed
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results

COLUMNS = (
    Column("Arm"),
    Column("Test accuracy", "%", "number"),
    Column("Paper's claim"),
    Column("lr", kind="number"),
    Column("Clip"),
    Column("Epochs", "D5", "number"),
    Column("Epochs", "D1", "number"),
    Column("Clipped", "% of steps", "number"),
    Column("Diverged", "runs", "number"),
    Column("Step", "ms", "number"),
    Column("Optimizer", "% of step", "number"),
)


def results_table(results: Results, summary: Summary) -> Table:
    """One row an arm at the headline budget, beside it the paper's claim where it makes any for the task."""
    study, task, arms = results.study, results.task, headline_rows(results, summary)
    rows = [
        [
            row.arm,
            estimate(row.test_accuracy),
            claim(task, row.arm),
            setting(row.lr),
            clip(results.chosen[row.arm, row.budget]),
            epochs(converged(summary, row.arm, "D5"), study.epochs),
            epochs(converged(summary, row.arm, "D1"), study.epochs),
            NOTHING if row.threshold is None else percent(row.clip_rate, 1),
            f"{row.diverged}/{row.runs}",
            quantity(row.step_ms),
            share(row.optimizer_ms, row.step_ms),
        ]
        for row in arms
    ]
    table = Table.of(
        f"Results after {count(study.epochs, 'epoch')}",
        COLUMNS,
        rows,
        f"Accuracy: mean ± 95% interval over {count(study.seeds, 'paired seed')}. lr and clip threshold: tuned on "
        f"validation data. Epochs to {percent(task.target_accuracy, 1)}% validation accuracy: smallest budget (D5), "
        "median first epoch (D1). Clipped: steps whose gradient was scaled down. Optimizer: clipping included."
        + (" Test loss: with its 95% interval." if task.loss_unit else "")
        + timed(arms),
    )
    for name in reversed(list(task.recipe.also)):
        shares = [estimate(row.test_also[name]) for row in arms]
        table = table.with_column(2, Column(f"Test {name}", "%", "number"), shares)
    if task.loss_unit:
        losses = [loss_estimate(row.test_loss, task.loss_unit) for row in arms]
        table = table.with_column(2, Column("Test loss", task.loss_unit.name, "number"), losses)
    return table if task.claims else table.without("Paper's claim")
