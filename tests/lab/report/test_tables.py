import math
from dataclasses import replace
from functools import partial

import pytest

from lab_factory import ARMS, make_results, make_task
from steadystep.lab.report.sheets import summary_csv
from steadystep.lab.report.tables import (
    Column,
    Table,
    budgets_table,
    chosen_table,
    convergence_table,
    cost_table,
    definitions,
    environment_table,
    results_table,
    search_table,
    study_table,
    verdicts_table,
)
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.study.records import Results
from steadystep.lab.tasks.loss_unit import LossUnit
from steadystep.lab.tasks.recipe import Recipe, topk_correct

CLAIMS = ["98.1% in 15 epochs", "98.9% in 12 epochs", "99.5% in 10 epochs"]
NAMES = [
    "Epochs to target",
    "Epochs to sustained target",
    "Epochs to near best",
    "Epochs to target loss",
    "Budget to target",
]


def column(table: Table, heading: str) -> list[str]:
    place = [found.heading for found in table.columns].index(heading)
    return [row[place] for row in table.rows]


def all_tables(results: Results) -> list[Table]:
    summary = summarise(results)
    both = (results_table, verdicts_table, budgets_table, convergence_table, chosen_table, cost_table)
    return [draw(results, summary) for draw in both] + [
        draw(results) for draw in (search_table, study_table, environment_table)
    ]


def test_results_have_a_column_with_the_claim_of_the_paper() -> None:
    results = make_results()
    summary = summarise(results)
    table = results_table(results, summary)
    assert column(table, "Arm") == [arm.name for arm in ARMS]
    assert column(table, "Paper's claim") == [f"{claim}: not reproduced" for claim in CLAIMS]
    assert column(table, "Clip") == ["–", "–", "norm 2.16"]
    assert column(table, "Clipped (% of steps)") == ["–", "–", "10.0"]
    ours = summary.arms[-1].test_accuracy
    assert column(table, "Test accuracy (%)")[-1] == f"{100 * ours.mean:.2f} ± {100 * (ours.high - ours.mean):.2f}"
    assert column(table, "Step (ms)") == ["1.12", "1.20", "1.23"]
    assert column(table, "Optimizer (% of step)") == ["11", "17", "19"]


def test_losses_are_shown_in_the_unit_of_the_task() -> None:
    results = make_results(task=make_task(loss_unit=LossUnit("perplexity", math.exp)))
    summary = summarise(results)
    loss = summary.arms[-1].test_loss
    shown = [f"{math.exp(nats):.2f}" for nats in (loss.mean, loss.low, loss.high)]
    table = results_table(results, summary)
    assert column(table, "Test loss (perplexity)")[-1] == f"{shown[0]} [{shown[1]}, {shown[2]}]"
    assert "Test loss" in table.note
    without = results_table(make_results(), summary)
    assert "Test loss" not in without.note + " ".join(found.title for found in without.columns)


def test_further_metrics_of_a_task_have_columns() -> None:
    task = make_task(recipe=Recipe(also={"top-5": partial(topk_correct, k=5)}))
    made = make_results(task=task)
    results = replace(
        made,
        final={
            cell: [run.model_copy(update={"test_also": {"top-5": 0.5 + 0.01 * run.trial.seed}}) for run in runs]
            for cell, runs in made.final.items()
        },
    )
    summary = summarise(results)
    table = results_table(results, summary)
    assert [found.heading for found in table.columns][1:3] == ["Test accuracy (%)", "Test top-5 (%)"]
    spread = 100 * (summary.arms[-1].test_also["top-5"].high - 0.545)
    assert column(table, "Test top-5 (%)") == [f"54.50 ± {spread:.2f}"] * len(ARMS)
    header, first, *_ = summary_csv(results, summary).splitlines()
    assert float(dict(zip(header.split(","), first.split(","), strict=True))["test_top_5"]) == pytest.approx(0.545)


def test_without_claims_there_is_no_claim_column() -> None:
    results = make_results(task=make_task(claims={}))
    for table in all_tables(results):
        assert not [found.title for found in table.columns if "Paper" in found.title]
        assert not [row[0] for row in table.rows if "Paper" in row[0]]


def test_a_target_that_is_not_reached_takes_more_than_the_budget() -> None:
    results = make_results(task=make_task(target_accuracy=0.999))
    assert set(column(results_table(results, summarise(results)), "Budget to target")) == {"> 4"}


def test_convergence_has_a_row_and_a_statement_per_definition() -> None:
    results = make_results()
    table = convergence_table(results, summarise(results))
    assert column(table, "Definition") == [*NAMES, "Paper's claim"]
    assert column(table, "Adam + clip")[-1] == "10"
    assert [name for name, _ in definitions(results)[:-1]] == NAMES


def test_choices_at_the_edge_of_the_search_are_marked() -> None:
    low = ARMS[0].model_copy(update={"lrs": (0.1, 0.01)})  # the factory prefers the one at index 1, here the lowest
    results = make_results(arms=[low])
    table = chosen_table(results, summarise(results))
    assert column(table, "4 epochs") == ["0.01 (lowest)"]


def test_verdicts_have_a_column_with_the_differences_of_the_paper() -> None:
    results = make_results()
    table = verdicts_table(results, summarise(results))
    assert column(table, "Pair") == ["Adam vs SGD", "Adam + clip vs SGD", "Adam + clip vs Adam"]
    assert column(table, "Paper (points)") == ["+0.80", "+1.40", "+0.60"]


def test_an_arm_whose_runs_all_diverged_has_no_accuracy() -> None:
    results = make_results(arms=ARMS[:2], budgets=(1,), seeds=3, diverged={"Adam": (0, 1, 2)})
    table = results_table(results, summarise(results))
    assert column(table, "Test accuracy (%)")[1] == "–"
    assert column(table, "Diverged (runs)") == ["0/3", "3/3"]


def test_no_cell_is_nan_and_every_row_is_complete() -> None:
    for results in (
        make_results(),
        make_results(arms=ARMS[:1], seeds=1, budgets=(1,)),
        make_results(arms=ARMS[:2], seeds=2, budgets=(1,), diverged={"SGD": (0, 1), "Adam": (0, 1)}),
    ):
        for table in all_tables(results):
            assert all(len(row) == len(table.columns) for row in table.rows)
            assert not [cell for row in table.rows for cell in row if str(math.nan) in cell.split()]


def test_an_incomplete_row_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        Table.of("t", [Column("a"), Column("b")], [["1"]])
