from dataclasses import replace

import pytest

from lab_factory import ARMS, make_results, make_task
from steadystep.lab.report.headline import headline
from steadystep.lab.report.notes import edge, notes
from steadystep.lab.report.tuning_words import tuning_words
from steadystep.lab.report.verdict_words import sentence
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.statistics.summary import Estimate, Verdict
from steadystep.lab.study.records import Results
from steadystep.lab.study.spec import Arm

EQUIVALENT = Verdict(
    arm="Adam + clip",
    against="Adam",
    difference=Estimate(0.0003, -0.0010, 0.0016),
    improvement=0.6,
    p_difference=0.7,
    p_equivalence=0.001,
    margin=0.005,
    pairs=10,
    verdict="equivalent",
)


def headline_of(results: Results) -> str:
    return headline(results, summarise(results))


def test_a_verdict_as_a_sentence() -> None:
    words = "Adam + clip vs Adam: equivalent, +0.03 points [−0.10, +0.16], margin 0.5"
    assert sentence(EQUIVALENT, make_task(claims={})) == words
    assert sentence(EQUIVALENT, make_task()) == words + "; paper +0.60"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"difference": Estimate(0.0003, float("nan"), float("nan")), "pairs": 1},
            "+0.03 points, too few seeds for an interval, margin 0.5",
        ),
        ({"difference": Estimate(*[float("nan")] * 3), "pairs": 0}, "no pair of seeds to compare"),
    ],
)
def test_a_verdict_without_an_interval(fields: dict, words: str) -> None:
    verdict = replace(EQUIVALENT, verdict="undecided", **fields)
    assert sentence(verdict, make_task(claims={})) == f"Adam + clip vs Adam: undecided, {words}"


def test_the_headline_starts_with_the_effect_of_clipping() -> None:
    results = make_results()
    found = replace(summarise(results), verdicts=(*summarise(results).verdicts[:2], EQUIVALENT))
    assert headline(results, found).startswith(
        "Test accuracy after 4 epochs: Adam + clip is equivalent to Adam (+0.03 points [−0.10, +0.16]); "
        "Adam and Adam + clip are better than SGD (+"
    )


def test_many_arms_are_counted() -> None:
    arms = [Arm(name=f"A{i}", optimizer="Adam", options={"weight_decay": 0.01 * i}, lrs=ARMS[0].lrs) for i in range(6)]
    accuracy = {arm.name: 0.90 + 0.01 * i for i, arm in enumerate(arms)}
    assert headline_of(make_results(arms=arms, accuracy=accuracy)) == (
        "Test accuracy after 4 epochs: all 15 pairs are different."
    )


def test_one_arm_has_no_verdict() -> None:
    words = headline_of(make_results(arms=ARMS[:1]))
    assert words.startswith("Test accuracy after 4 epochs: SGD, 93.")
    lost = make_results(arms=ARMS[:1], seeds=2, diverged={"SGD": (0, 1)})
    assert headline_of(lost) == "Test accuracy after 4 epochs: SGD, no run finished."


def test_notes_name_divergence_edges_and_missing_claims() -> None:
    arms = [ARMS[0].model_copy(update={"lrs": (0.1, 0.01)}), ARMS[1].model_copy(update={"lrs": (0.001, 0.002)})]
    results = make_results(arms=arms, diverged={"Adam": (3,)}, task=make_task(claims={}))
    tuning, diverged, low, high, claims = notes(results, summarise(results))
    assert tuning == (
        "Every arm was tuned with 2 settings at each of 3 budgets, each with 2 seeds and as many epochs as a final "
        "run: 28 epochs per arm."
    )
    assert diverged.startswith("Adam: 1 of 10 runs diverged (95% interval of the rate 2 to 40%)")
    assert "counts as a guess, 10.0%" in diverged
    assert low.startswith("SGD: the chosen learning rate, 0.01, is the lowest of those tried")
    assert high.startswith("Adam: the chosen learning rate, 0.001, is the lowest of those tried")
    assert claims == "The paper makes no claim about this task's data: no data set: made-up records."


def test_a_study_without_anomalies_tells_its_tuning_alone() -> None:
    results = make_results()
    [tuning] = notes(results, summarise(results))
    assert "The thresholds of Adam + clip count as settings" in tuning and "of Adam's tuning runs" in tuning


def test_tuning_tells_what_was_added_and_that_it_was_shorter() -> None:
    results = make_results(arms=ARMS[:1], budgets=(4,))
    rates = len({run.trial.lr for run in results.tuning["SGD", 4]})
    short = replace(results, study=results.study.model_copy(update={"tune_epochs": 1}))
    assert "each with 2 seeds and 1 epoch instead of the 4 of a final run" in tuning_words(short)
    fewer = results.study.arms[0].model_copy(update={"lrs": results.study.arms[0].lrs[:-1]})
    wider = replace(results, study=results.study.model_copy(update={"arms": (fewer,)}))
    assert f"tuned with {rates} settings (1 of them added at the edge of a search), each" in tuning_words(wider)


def test_a_study_that_was_changed_when_test_results_existed_says_so() -> None:
    results = replace(make_results(), test_seen=3)
    assert notes(results, summarise(results))[1].startswith(
        "Test seen: the study got its present declaration when it had 3 test results."
    )


def test_the_edge_is_that_of_the_rates_that_were_tried() -> None:
    """A search that was widened has rates below those that were declared."""
    results = make_results(arms=ARMS[:1], budgets=(4,))
    low = min(run.trial.lr for run in results.tuning["SGD", 4])
    row = replace(summarise(results).arms[0], lr=low, edge=True)
    declared = results.study.arms[0].model_copy(update={"lrs": (low / 10, low / 5)})
    wider = replace(results, study=results.study.model_copy(update={"arms": (declared,)}))
    assert edge(wider, row) == "lowest"
    assert edge(wider, replace(row, lr=max(run.trial.lr for run in results.tuning["SGD", 4]))) == "highest"


def test_an_arm_whose_quantiles_are_one_threshold_had_fewer_settings() -> None:
    results = make_results()
    assert "Quantiles of" not in tuning_words(results)
    clip = results.tuning["Adam + clip", 4][0].trial.clip
    tuning = {
        cell: [run.model_copy(update={"trial": run.trial.model_copy(update={"clip": clip})}) for run in runs]
        if cell[0] == "Adam + clip"
        else runs
        for cell, runs in results.tuning.items()
    }
    words = tuning_words(replace(results, tuning=tuning))
    assert "Quantiles of Adam + clip gave the same threshold, so that it had" in words
