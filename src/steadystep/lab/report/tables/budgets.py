"""The table of test accuracy by budget."""

from steadystep.lab.counted import count
from steadystep.lab.report.cells import estimate, mean_words
from steadystep.lab.report.seeds import fewest_seeds
from steadystep.lab.report.table import Column, Table
from steadystep.lab.statistics.summary import ArmSummary, Summary
from steadystep.lab.study.records import Results


def budgets_table(results: Results, summary: Summary) -> Table:
    """Return the test accuracy, with one row per arm and one column per budget."""
    study, cells = results.study, {(row.arm, row.budget): row for row in summary.arms}
    return Table.of(
        "Test accuracy by budget, %",
        [Column("Arm"), *(Column(count(budget, "epoch"), kind="number") for budget in study.budgets)],
        [[arm.name, *(_cell(cells[arm.name, budget]) for budget in study.budgets)] for arm in study.arms],
        f"{mean_words(fewest_seeds(results)).capitalize()}, of the finished runs; in brackets the number of diverged "
        "runs, if any.",
        "Every budget has its own full schedule and its own tuning.",
    )


def _cell(row: ArmSummary) -> str:
    return estimate(row.test_accuracy) + (f" ({row.diverged} diverged)" if row.diverged else "")
