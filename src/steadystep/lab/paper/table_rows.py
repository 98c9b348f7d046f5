"""Compute the verdicts on Table 1 from measured results."""

import math
from pathlib import Path

from steadystep.lab.paper.entry import Measured, TableRow, Verdict, table1
from steadystep.lab.paper.results import Interval, Results
from steadystep.lab.paper.row import Row, Source, result_source
from steadystep.lab.statistics.claims import (
    EXCEEDED,
    NOT_COMPARABLE,
    NOT_REPRODUCED,
    REPRODUCED,
    UNDECIDED,
    compare_with_claim,
)
from steadystep.lab.statistics.reported import TOO_FEW

PROPOSED = "Adam + gradient clipping"


def accuracies(folder: Path) -> list[Row]:
    """Judge each row of the table: reproduced if its accuracy lies in the measured 95% interval, exceeded if below it.

    A row is undecided if the interval contains the accuracy of another technique as well, and not comparable if the
    measured network is not of the kind that the paper describes.
    """
    return [_accuracy(row, folder) for row in table1()]


def improvements(folder: Path) -> list[Row]:
    """Judge each improvement that the table claims for the proposed technique, if the pair was measured.

    A row is undecided if the interval contains both the improvement and 0.
    """
    pairs = [
        (proposed, other)
        for proposed in table1()
        for other in table1()
        if proposed.technique == PROPOSED != other.technique and other.dataset == proposed.dataset
    ]
    return [row for proposed, other in pairs if (row := _improvement(proposed, other, folder))]


def _accuracy(row: TableRow, folder: Path) -> Row:
    name = f"table1-{row.dataset}-{row.technique}".lower().replace(" + ", "-").replace(" ", "-")
    quote = f"{row.dataset}, {row.architecture}, {row.technique}: {row.accuracy}%, {row.epochs} epochs"
    if not (results := Results(folder / row.study)).exists:
        explanation = f"Not run here. `steadystep reproduce --task {row.study} --data DIR --device cuda` runs it."
        published = (Source("citation", row.published),) if row.published else ()
        return Row(name, "numbers", "Table 1", quote, "not measured", explanation, published)
    verdict, explanation = _judge_accuracy(row, results)
    explanation += _reservation(results)
    sources = (Measured(study=row.study, what=what, arm=row.arm) for what in ("accuracy", "epochs"))
    evidence = tuple(result_source(folder, source) for source in sources)
    return Row(name, "numbers", "Table 1", quote, verdict, explanation, evidence)


def _judge_accuracy(row: TableRow, results: Results) -> tuple[Verdict, str]:
    """Return the verdict on a row of the table, and its reason."""
    interval, claimed = results.accuracy(row.arm).estimate, row.accuracy / 100
    if results.unlike_paper:
        return NOT_COMPARABLE, f"Another network than the paper's was measured: {results.unlike_paper}."
    if math.isnan(interval.low):
        return UNDECIDED, f"The study has {TOO_FEW}."
    rivals = [other.accuracy / 100 for other in table1() if other.dataset == row.dataset and other != row]
    verdict = compare_with_claim(interval, claimed, rivals)
    distance = _distance(claimed, interval.mean)
    return verdict, {
        REPRODUCED: "The paper's accuracy lies within the measured 95% interval.",
        UNDECIDED: "The measured 95% interval is too wide: it also contains the paper's accuracy of other techniques.",
        NOT_REPRODUCED: f"The paper's accuracy is {distance} above the measured mean, outside its 95% interval.",
        EXCEEDED: f"The measured mean is {distance} above the paper's accuracy, which lies below its 95% interval.",
    }[verdict]


def _reservation(results: Results) -> str:
    """Return a sentence if the study got its present declaration after some of its test results were known."""
    return " The study got its present declaration after test results were seen." if results.test_seen else ""


def _distance(claimed: float, measured: float) -> str:
    """Return the distance of two accuracies that differ, in points with two decimals, or more if it would be 0."""
    distance = 100 * abs(claimed - measured)
    return f"{distance:.2f} points" if distance >= 0.005 else f"{distance:.1g} points"


def _improvement(proposed: TableRow, other: TableRow, folder: Path) -> Row | None:
    results = Results(folder / proposed.study)
    if not results.exists:
        return None
    claimed = (proposed.accuracy - other.accuracy) / 100
    verdict, explanation = _judge_improvement(
        claimed, *results.difference(proposed.arm, other.arm), results.unlike_paper
    )
    explanation += _reservation(results)
    return Row(
        f"improvement-{proposed.dataset}-{other.technique}".lower(),
        "numbers",
        "Table 1",
        f"{proposed.dataset}: {proposed.technique} is {100 * claimed:+.1f} points better than {other.technique}",
        verdict,
        explanation,
        (
            result_source(
                folder, Measured(study=proposed.study, what="difference", arm=proposed.arm, against=other.arm)
            ),
        ),
    )


def _judge_improvement(claimed: float, measured: Interval, compared: str, unlike_paper: str) -> tuple[Verdict, str]:
    """Return the verdict on a claimed improvement, and its reason."""
    if unlike_paper:
        return NOT_COMPARABLE, f"Another network than the paper's was measured: {unlike_paper}."
    comparison = f"On paired seeds, the comparison is {compared}."
    if math.isnan(measured.low):
        return UNDECIDED, f"{comparison} The study has {TOO_FEW}."
    verdict = compare_with_claim(measured.estimate, claimed, rivals=[0.0])
    place = {
        REPRODUCED: "within the 95% interval of the difference",
        UNDECIDED: "within the 95% interval of the difference, as does no difference at all",
        NOT_REPRODUCED: "outside the 95% interval of the difference",
        EXCEEDED: "below the 95% interval of the difference",
    }[verdict]
    return verdict, f"{comparison} The claimed {100 * claimed:+.1f} points lie {place}."
