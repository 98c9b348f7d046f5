"""The table of the declaration and the size of a study."""

from steadystep.lab.report.cells import count, distinct, join_with_and, margin, percent, seconds
from steadystep.lab.report.runs import all_runs, total_seconds
from steadystep.lab.report.tables.table import Column, Table
from steadystep.lab.report.timing_words import training_mode
from steadystep.lab.study.records import Results


def study_table(results: Results) -> Table:
    """Return what was declared before any result was known, and the number and total time of the runs."""
    study, task, runs = results.study, results.task, all_runs(results)
    diverged = sum(run.outcome == "diverged" for run in runs)
    return Table.of(
        "Study",
        [Column("Field"), Column("Value", kind="prose")],
        [
            ["Task", f"{task.name}, version {task.version}"],
            ["Data", f"{task.dataset}; fingerprint {distinct(run.trial.data for run in runs)}"],
            ["Model parameters", distinct(f"{run.parameters:,}" for run in runs)],
            ["Budgets", f"{join_with_and([str(budget) for budget in study.budgets])} epochs"],
            ["Schedule", f"{study.schedule}, batch size {study.batch_size}"],
            ["Seeds", f"{study.seeds} paired, {count(study.tune_seeds, 'other')} for tuning"],
            ["Equivalence margin", f"{margin(task.margin)} points"],
            ["Targets", f"{percent(task.target_accuracy, 1)}% validation accuracy, training loss {task.target_loss:g}"],
            ["Training runs", f"{count(len(runs), 'run')}, {diverged:,} diverged"],
            ["Trained", training_mode(runs)],
            ["Training time", f"{seconds(total_seconds(results))} in total"],
        ],
    )
