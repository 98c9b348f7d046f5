"""The main table of a study."""

from steadystep.lab.report.cells import NOTHING, clip, count, estimate, loss_estimate, percent, quantity, setting, share
from steadystep.lab.report.headline import claim_text, headline_rows
from steadystep.lab.report.tables.convergence import convergence_of, epochs_text
from steadystep.lab.report.tables.table import Column, Table
from steadystep.lab.report.timing_words import timing_note
from steadystep.lab.statistics.convergence import DEFINITION_NAMES
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results


def _definition_column(definition: str) -> Column:
    """Return the column of a convergence time, with the name of the definition split into the title and the unit."""
    title, unit = DEFINITION_NAMES[definition].split(" ", maxsplit=1)
    return Column(title.capitalize(), unit, "number", group="convergence")


COLUMNS = (
    Column("Arm"),
    Column("Test accuracy", "%", "number"),
    Column("Paper's claim"),
    Column("lr", kind="number"),
    Column("Clip"),
    _definition_column("D5"),
    _definition_column("D1"),
    Column("Clipped", "% of steps", "number"),
    Column("Diverged", "runs", "number"),
    Column("Step", "ms", "number"),
    Column("Optimizer", "% of step", "number"),
)


def results_table(results: Results, summary: Summary) -> Table:
    """Return one row per arm at the headline budget, with the paper's claims if it makes any for the task."""
    study, task, arms = results.study, results.task, headline_rows(results, summary)
    rows = [
        [
            row.arm,
            estimate(row.test_accuracy),
            claim_text(task, row.arm),
            setting(row.lr),
            clip(results.chosen[row.arm, row.budget]),
            epochs_text(convergence_of(summary, row.arm, "D5"), study.epochs),
            epochs_text(convergence_of(summary, row.arm, "D1"), study.epochs),
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
        f"validation data. Target: {percent(task.target_accuracy, 1)}% validation accuracy. "
        f"{DEFINITION_NAMES['D5'].capitalize()}: smallest budget with which the mean final accuracy reaches it. "
        f"{DEFINITION_NAMES['D1'].capitalize()}: median first epoch that reaches it. Clipped: clip rate, the share "
        "of steps whose gradient was scaled down. Optimizer: including clipping."
        + (" Test loss: with its 95% interval." if task.loss_unit else "")
        + timing_note(arms),
    )
    for name in reversed(list(task.recipe.also)):
        shares = [estimate(row.test_also[name]) for row in arms]
        table = table.with_column(2, Column(f"Test {name}", "%", "number"), shares)
    if task.loss_unit:
        losses = [loss_estimate(row.test_loss, task.loss_unit) for row in arms]
        table = table.with_column(2, Column("Test loss", task.loss_unit.name, "number"), losses)
    return table if task.claims else table.without("Paper's claim")
