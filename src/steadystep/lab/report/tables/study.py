"""The table of the declaration and the size of a study."""

from steadystep.lab.counted import count, measure
from steadystep.lab.report.cells import distinct, join_with_and, margin, percent, seconds
from steadystep.lab.report.runs import all_runs, total_seconds
from steadystep.lab.report.seeds import paired_seeds
from steadystep.lab.report.table import Column, Table
from steadystep.lab.report.timing_words import training_mode
from steadystep.lab.study.records import Results
from steadystep.lab.study.spec import Study


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
            ["Budgets", measure(join_with_and([str(budget) for budget in study.budgets]), "epoch")],
            ["Schedule", f"{study.schedule}, batch size {study.batch_size}"],
            ["Seeds", f"{_declared_seeds(study)}, and {count(study.tune_seeds, 'other')} for tuning"],
            ["Equivalence margin", measure(margin(task.margin), "point")],
            ["Targets", f"{percent(task.target_accuracy, 1)}% validation accuracy, training loss {task.target_loss:g}"],
            ["Seeds that were run", paired_seeds(results)],
            ["Training runs", f"{count(len(runs), 'run')}, {diverged:,} diverged"],
            ["Trained", training_mode(runs)],
            ["Training time", f"{seconds(total_seconds(results))} in total"],
        ],
        _when(results),
    )


def _declared_seeds(study: Study) -> str:
    if study.until_decided is None:
        return count(study.seeds, "paired seed")
    *first, last = map(str, study.looks)
    return f"{', '.join(first)} or {last} paired seeds until every pair is decided"


def _when(results: Results) -> str:
    """Return when the declaration, which are the rows above those of the runs, was made."""
    if results.test_seen:
        when = f"when the study had {count(results.test_seen, 'test result')}"
    else:
        when = "before the first test result was known"
    return f"Everything but the last four rows was declared {when}."
