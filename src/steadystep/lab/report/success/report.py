"""The document of a measurement of success: the answer, the figures, the tables and the CSV file."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from steadystep.lab.counted import count
from steadystep.lab.report.cells import NOTHING, estimate, join_with_and, percent, setting, share_interval
from steadystep.lab.report.document import Document, Section, write_document
from steadystep.lab.report.files import write_files
from steadystep.lab.report.sheets import as_csv
from steadystep.lab.report.success.figure import CAPTION, accuracy_figure, success_figure, success_picture
from steadystep.lab.report.tables import Column, Table, machines_table
from steadystep.lab.study.spec import FIRST_TUNING_SEED
from steadystep.lab.success.run import SuccessResults
from steadystep.lab.success.summary import Rate, summarise_success
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.tasks.rnn import BATCH, UPDATES
from steadystep.lab.tasks.sequences import PROBLEMS


def write_success(results: SuccessResults, command: str, folder: Path) -> tuple[Document, list[Path]]:
    """Write success.html, success.md, success.csv and success.svg.

    Returns:
        The document and the paths of the files, the page first.

    Raises:
        StoreError: if the folder cannot be written; the message is one line.
    """
    document = success_document(results, command)
    picture = success_picture(results.measurement, summarise_success(results), document.title)
    return document, write_document(document, folder) + write_files(folder, {"success.svg": picture})


def success_document(results: SuccessResults, command: str) -> Document:
    """Return the document of a measurement. `command` is the command that reproduces it."""
    measurement, rates = results.measurement, summarise_success(results)
    runs = [run for part in (results.tuning, results.final) for tried in part.values() for run in tried]
    return Document(
        name="success",
        subject=f"rnn-{measurement.problem}",
        title=f"Success by length: {PROBLEMS[measurement.problem].title}",
        lede=answer(rates),
        facts=(
            count(len(measurement.arms), "arm"),
            count(len(measurement.cells), "cell"),
            count(len(measurement.lengths), "length"),
            count(measurement.seeds, "seed"),
            count(measurement.epochs * UPDATES, "update"),
            count(len(runs), "training run"),
        ),
        notes=tuple(_notes(results)),
        sections=(
            Section("Success by length", (success_figure(measurement, rates),), (_rates_table(results, rates),)),
            Section("Accuracy by length", (accuracy_figure(measurement, rates),), (_accuracy_table(results, rates),)),
            Section("Settings", tables=(_settings_table(results),)),
        ),
        setting=(_measurement_table(results), machines_table([run.environment for run in runs])),
        sheets={"success.csv": as_csv([asdict(rate) for rate in rates])},
        command=command,
    )


def answer(rates: Sequence[Rate]) -> str:
    """State, for each cell, how many runs of each arm succeeded over all lengths and the share of correct sequences."""
    sentences = []
    lengths = list(dict.fromkeys(rate.length for rate in rates))
    where = "over all lengths" if len(lengths) > 1 else f"at T = {lengths[0]}"
    for cell in dict.fromkeys(rate.cell for rate in rates):
        totals, right = [], []
        for arm in dict.fromkeys(rate.arm for rate in rates):
            of_arm = [rate for rate in rates if (rate.cell, rate.arm) == (cell, arm)]
            totals.append(f"{arm} {sum(r.succeeded for r in of_arm)} of {sum(r.runs for r in of_arm)}")
            right.append(f"{arm} {percent(fmean(r.accuracy.mean for r in of_arm), 1)}%")
        sentences.append(f"Successful runs {where}, {cell}: {', '.join(totals)}.")
        sentences.append(f"Sequences that were right, {cell}: {', '.join(right)}.")
    return " ".join(sentences)


def _notes(results: SuccessResults) -> list[str]:
    measurement = results.measurement
    notes = [
        f"Settings were chosen at T = {measurement.tuned_at} and used at every length. At other lengths, other "
        "settings may be better."
    ]
    if results.other_results:
        notes.append(
            f"Test seen: the folder has {count(results.other_results, 'further test result')}, of other settings, "
            "lengths, cells or seeds. They may have been known before this measurement was chosen."
        )
    arms = {arm.name: arm for arm in measurement.arms}
    for (cell, name), chosen in results.chosen.items():
        lrs = arms[name].lrs
        if len(lrs) > 1 and chosen.lr in (lrs[0], lrs[-1]):
            notes.append(f"{cell}, {name}: the learning rate {setting(chosen.lr)} is at the edge of the search.")
    return notes


def _rates_table(results: SuccessResults, rates: Sequence[Rate]) -> Table:
    note = f"{CAPTION}, of {count(results.measurement.seeds, 'seed')} each, with its 95% Wilson interval."
    return _by_length(results, rates, "Success by length", lambda rate: share_interval(rate.success), note)


def _accuracy_table(results: SuccessResults, rates: Sequence[Rate]) -> Table:
    note = (
        f"Share of 10,000 new sequences that are right, mean ± 95% t interval over "
        f"{count(results.measurement.seeds, 'seed')}; a diverged run counts as a guess."
    )
    return _by_length(results, rates, "Accuracy by length", lambda rate: estimate(rate.accuracy), note)


def _by_length(
    results: SuccessResults, rates: Sequence[Rate], title: str, cell_of: Callable[[Rate], str], note: str
) -> Table:
    """Return a table with a row for each cell and arm and a column for each length."""
    lengths = results.measurement.lengths
    by_run = {(rate.cell, rate.arm, rate.length): rate for rate in rates}
    columns = [
        Column("Cell", key=True),
        Column("Arm", key=True),
        *(Column(f"T = {length}", "%", "number") for length in lengths),
    ]
    return Table.of(
        title,
        [*columns, Column("Diverged", "runs", "number")],
        [
            [
                cell,
                arm,
                *(cell_of(by_run[cell, arm, length]) for length in lengths),
                str(sum(by_run[cell, arm, length].diverged for length in lengths)),
            ]
            for cell, arm in dict.fromkeys((rate.cell, rate.arm) for rate in rates)
        ],
        note,
    )


def _settings_table(results: SuccessResults) -> Table:
    columns = ("Cell", "Arm", "lr", "Clip", "Validation accuracy", "Diverged while tuning")
    return Table.of(
        "Chosen settings",
        [
            Column(name, "%" if place == 4 else "", "number" if place in (2, 4, 5) else "text", key=place < 2)
            for place, name in enumerate(columns)
        ],
        [
            [cell, arm, setting(best.lr), str(best.clip) if best.clip else NOTHING, *_tuned(results, cell, arm)]
            for (cell, arm), best in results.chosen.items()
        ],
        f"At T = {results.measurement.tuned_at}, over seeds from {FIRST_TUNING_SEED} up: the setting with the highest "
        "mean validation accuracy.",
        "Thresholds are quantiles of the gradient norms that the unclipped arm recorded at its best learning rate.",
    )


def _tuned(results: SuccessResults, cell: str, arm: str) -> tuple[str, str]:
    best, tried = results.chosen[cell, arm], results.tuning[cell, arm]
    runs = [run for run in tried if (run.trial.lr, run.trial.clip) == (best.lr, best.clip)]
    accuracies = [run.val_accuracy for run in runs if run.val_accuracy is not None]
    diverged = sum(run.outcome == "diverged" for run in tried)
    return percent(sum(accuracies) / len(accuracies), 1) if accuracies else NOTHING, f"{diverged}/{len(tried)}"


def _measurement_table(results: SuccessResults) -> Table:
    measurement = results.measurement
    return Table.of(
        "Measurement",
        [Column("Field"), Column("Value", kind="prose")],
        [
            ["Problem", measurement.problem],
            ["Networks", f"{', '.join(measurement.cells)}, {count(measurement.hidden, 'unit')}"],
            [
                "Runs",
                f"{count(measurement.epochs, 'epoch')} of {count(UPDATES, 'update')}, batch size {BATCH}, cosine "
                "schedule",
            ],
            [
                "Seeds",
                f"{measurement.seeds}, the same for all arms; {count(measurement.tune_seeds, 'other')} for tuning",
            ],
            *([f"Search space of {arm.name}", _search_space(arm)] for arm in measurement.arms),
        ],
        "What the command of this measurement fixes.",
    )


def _search_space(arm: Arm) -> str:
    quantiles = f", each with the quantiles {join_with_and([setting(q) for q in arm.quantiles])}" if arm.clip else ""
    return f"{count(arm.configurations, 'setting')}: lr {join_with_and([setting(lr) for lr in arm.lrs])}{quantiles}"
