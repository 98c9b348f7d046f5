"""Results of every command with made-up numbers, the tables of its report, and what it prints in a terminal."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import product

from rich.console import Console

from lab_factory import ENVIRONMENT, make_record, make_results, make_task, make_trial
from steadystep.diagnosis.result import Diagnosis
from steadystep.diagnosis.result import Evidence as Swap
from steadystep.lab.cost.arms import cost_arms
from steadystep.lab.cost.measure import Cost, CostResults, Times
from steadystep.lab.execution.verify import Rerun, Verification
from steadystep.lab.paper.row import Row, Source
from steadystep.lab.report import audit, claims, tables, terminal
from steadystep.lab.report.console_table import show_table
from steadystep.lab.report.cost.report import cost_document
from steadystep.lab.report.doctor.report import answer_table, fixes_table, swaps_table
from steadystep.lab.report.document import Document, show
from steadystep.lab.report.lists.claims import claims_table
from steadystep.lab.report.lists.optimizers import optimizers_table
from steadystep.lab.report.lists.tasks import tasks_table
from steadystep.lab.report.stability.report import stability_document
from steadystep.lab.report.success.report import success_document
from steadystep.lab.report.table import Table
from steadystep.lab.report.verification import verification_table
from steadystep.lab.stability.declare import sweep_for
from steadystep.lab.stability.run import SweepResults
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.study.records import Results
from steadystep.lab.success.declare import measurement_for
from steadystep.lab.success.run import SuccessResults
from steadystep.lab.tasks import TASKS
from steadystep.lab.tasks.arms import Arm
from steadystep.lab.theory import CLAIMS, RECORDED
from steadystep.lab.theory.claim import Evidence, Finding, Measurement
from steadystep.lab.theory.run import Outcome
from steadystep.lab.training.record import Record
from steadystep.lab.training.trial import Clip, Trial
from steadystep.optimizers import OPTIMIZERS

LONG_NAMES = (
    Arm(name="StableAdamW", optimizer="StableAdamW", lrs=(1e-4, 1e-3, 1e-2, 1e-1)),
    Arm(name="StableAdamW + autoclip", optimizer="StableAdamW", lrs=(1e-3, 1e-2), clip="autoclip", thresholds=(5, 10)),
)


@cache
def study() -> Results:
    """Return a study of which one final run diverged."""
    return make_results(diverged={"Adam": (3,)})


@cache
def study_with_long_names() -> Results:
    """Return a study whose arms have the longest names that an optimizer and a clipper can make, and no claims."""
    task = make_task(claims={}, arms=LONG_NAMES)
    arms = [arm.model_copy(update={"thresholds": (), "quantiles": ()}) for arm in LONG_NAMES[:1]]
    results = make_results(arms=arms, accuracy={arm.name: 0.95 for arm in LONG_NAMES}, task=task)
    clipped = LONG_NAMES[1]

    def with_clip(record: Record) -> Record:
        trial = record.trial.model_copy(update={"clip": Clip(kind="autoclip", threshold=10.0)})
        return record.model_copy(update={"trial": trial, "clip_rate": 0.9})

    def both(cells: Mapping[tuple[str, int], Sequence[Record]]) -> dict[tuple[str, int], Sequence[Record]]:
        return {**cells, **{(clipped.name, budget): list(map(with_clip, runs)) for (_, budget), runs in cells.items()}}

    chosen = {
        (clipped.name, budget): trial.model_copy(update={"clip": Clip(kind="autoclip", threshold=10.0)})
        for (_, budget), trial in results.chosen.items()
    }
    return replace(
        results,
        study=results.study.model_copy(update={"arms": LONG_NAMES}),
        chosen={**results.chosen, **chosen},
        tuning=both(results.tuning),
        final=both(results.final),
    )


@cache
def sweep() -> SweepResults:
    """Return a sweep of two optimizers without clipping and with two clippers."""
    lrs = (0.001, 0.01, 0.1, 1.0, 10.0)
    declared = sweep_for(make_task(), optimizers=("SGD", "Adam"), clips=("norm", "zclip"), lrs=lrs, seeds=3, epochs=4)
    records = {arm.name: [_swept(arm, lr, seed) for lr in lrs for seed in range(3)] for arm in declared.arms}
    best = {arm.name: 0.1 if arm.optimizer == "SGD" else 0.01 for arm in declared.arms}
    return SweepResults(declared, make_task(), records, best)


def _swept(arm: Arm, lr: float, seed: int) -> Record:
    centre = (-1.0 if arm.optimizer == "SGD" else -2.0) + (0.5 if arm.clip else 0.0)
    away = abs(math.log10(lr) - centre)
    clip = Clip(kind=arm.clip, threshold=2.5 if arm.clip == "zclip" else 0.75) if arm.clip else None
    trial = make_trial(optimizer=arm.optimizer, options=arm.options, lr=lr, clip=clip, seed=1000 + seed, role="tune")
    return make_record(trial, accuracy=0.95 - 0.02 * away**2 - 0.002 * seed, diverged=away > 2 - 0.2 * seed)


@cache
def successes() -> SuccessResults:
    """Return a measurement of two networks at three lengths."""
    measurement = measurement_for(
        "rnn-temporal-order", cells=("tanh", "smart-tanh"), lengths=(10, 20, 40), seeds=5, tune_seeds=1
    )
    chosen: dict[tuple[str, str], Trial] = {}
    tuning: dict[tuple[str, str], Sequence[Record]] = {}
    final: dict[tuple[str, str, int], Sequence[Record]] = {}
    for (place, cell), arm in product(enumerate(measurement.cells), measurement.arms):
        clip = Clip(kind="norm", threshold=1.25) if arm.clip else None
        trial = partial(make_trial, optimizer=arm.optimizer, lr=arm.lrs[1], clip=clip)
        chosen[cell, arm.name] = trial(seed=1000, role="tune")
        tuning[cell, arm.name] = [make_record(chosen[cell, arm.name], accuracy=0.9)]
        for length in measurement.lengths:
            reached = 1.02 - 0.002 * length - (0.0 if arm.clip else 0.003 * length) + 0.02 * place
            final[cell, arm.name, length] = [
                make_record(trial(seed=seed), accuracy=min(reached - 0.01 * seed, 1.0), diverged=reached < 0.85)
                for seed in range(measurement.seeds)
            ]
    return SuccessResults(measurement, chosen, tuning, final)


@cache
def costs() -> CostResults:
    """Return the costs of every optimizer, and of one with every clipper."""
    measured = []
    for place, arm in enumerate(cost_arms()):
        slow = (1.0, 1.1, 1.2, 1.0, 1.3)
        optimizer = 0.1 + 0.02 * place
        times = Times(tuple(0.8 * factor for factor in slow), tuple(optimizer * factor for factor in slow))
        measured.append(Cost(arm, 1.0 if arm.clip else None, times, state_bytes=4_000 * (place % 4)))
    return CostResults(make_task(), tuple(measured), 1_000, 64, 5, ENVIRONMENT)


@cache
def outcomes() -> tuple[Outcome, ...]:
    """Return an outcome for every claim of the theory, with made-up findings."""
    found = (
        Evidence((Finding("the largest step was 1.02 lr, over 10,000 sequences of gradients", True),)),
        Evidence(
            (Finding("as stated, it fails at step 3", False), Finding("with eps = 0 it holds", True, "assuming")),
            (Measurement("supremum", 7.26985, "7.270"), Measurement("limit", 1.0, "1.0")),
        ),
        Evidence(
            (Finding("the average regret grew to 0.7", False), Finding("with AMSGrad it shrinks", True, "instead")),
            (Measurement("regret", 0.71, "0.70"),),
        ),
    )
    return tuple(
        Outcome(claim, found[place % len(found)], RECORDED[name], 0.5)
        for place, (name, claim) in enumerate(CLAIMS.items())
    )


ROWS = (
    Row(
        "clipping-helps", "claims", "4.2", "Gradient clipping improves accuracy.", "holds in part",
        "Adam + norm is better than Adam on one of two tasks.",
        (Source("measured", "Adam + norm against Adam: better, +0.60 points [+0.20, +1.00]", "mnist-mlp"),),
    ),
    Row(
        "adam-steps", "equations", "3.1", "m_t = β₁ m_{t−1} + g_t", "wrong",
        "The factor 1 − β₁ is missing, so that the first step is too long.",
        (Source("theory", "The printed update is not Adam: refuted", "printed-adam"),),
    ),
    Row("batch", "method", "4.1", "A small batch size was used.", "not given", "The size is not stated.", ()),
)  # fmt: skip


def documents() -> tuple[Document, Document, Document]:
    """Return the documents of the sweep, of the success rates and of the costs."""
    return (
        stability_document(sweep(), "steadystep stability"),
        success_document(successes(), "steadystep success"),
        cost_document(costs(), "steadystep cost"),
    )


SCREENS: dict[str, Callable[[Console], None]] = {
    "results": lambda console: terminal.render(study(), summarise(study()), console),
    "results-long-names": lambda console: terminal.render(
        study_with_long_names(), summarise(study_with_long_names()), console
    ),
    "stability": lambda console: show(documents()[0], console),
    "success": lambda console: show(documents()[1], console),
    "cost": lambda console: show(documents()[2], console),
    "tasks": lambda console: show_table(tasks_table(TASKS.values()), console),
    "optimizers": lambda console: show_table(optimizers_table(OPTIMIZERS), console),
    "theory": lambda console: claims.render(outcomes(), console, in_full=False),
    "theory-in-full": lambda console: claims.render(outcomes()[1:2], console, in_full=True),
    "audit": lambda console: audit.render(ROWS, console),
}
"""What the commands print, by the name of a file in tests/cli/screens."""


OF_SUMMARY = (
    tables.results_table, tables.verdicts_table, tables.budgets_table, tables.convergence_table, tables.chosen_table,
    tables.cost_table,
)  # fmt: skip
OF_RESULTS = (tables.search_table, tables.study_table, tables.environment_table)


DIAGNOSIS = Diagnosis(
    culprit="batch",
    place="example 6 of batch 141",
    step=141,
    sentence="example 6 of batch 141 contains NaN",
    evidence=(
        Swap("other batches at step 141", "5 of 5 are finite", True),
        Swap("batch 141 with earlier weights", "2 of 2 are not finite", False),
        Swap("a replay of the same steps", "another loss at step 3: the run cannot be replayed", None),
    ),
    race=(
        Swap("leave example 6 of batch 141 out, or mend its data", "holds 200 steps, loss 0.6795 -> 0.6534", True),
        Swap("divide the learning rate by 10", "not finite at step 141", False),
    ),
    trouble="the loss is nan at step 141",
)


def verification() -> Verification:
    """Return a verification with every kind of outcome."""
    results = study()
    recorded = results.final["Adam", results.study.epochs][0]
    nearly = make_record(recorded.trial, accuracy=0.9512)
    lost = make_record(recorded.trial, diverged=True)
    reruns = (Rerun("Adam", 4, recorded, again, 0.01) for again in (recorded, nearly, lost))
    return Verification(results, tuple(reruns))


def every_table() -> dict[str, Table]:
    """Return every table of every report and list, by a name for the test."""
    found: list[Table] = [tasks_table(TASKS.values()), optimizers_table(OPTIMIZERS), claims_table(outcomes())]
    for results in (study(), study_with_long_names()):
        summary = summarise(results)
        found += [make(results, summary) for make in OF_SUMMARY] + [make(results) for make in OF_RESULTS]
    for document in documents():
        found += [table for section in document.sections for table in section.tables]
        found += document.setting
    found.append(verification_table(verification()))
    found += [swaps_table(DIAGNOSIS.evidence), fixes_table(DIAGNOSIS.race), answer_table(DIAGNOSIS)]
    return {f"{place}: {table.title}": table for place, table in enumerate(found)}
