"""Compute the verdicts on Table 1 from measured results."""

from pathlib import Path

from steadystep.lab.paper.entry import Measured, TableRow, Verdict, table1
from steadystep.lab.paper.results import Results
from steadystep.lab.paper.row import Row, Source, result_source

PROPOSED = "Adam + gradient clipping"


def accuracies(folder: Path) -> list[Row]:
    """Judge each row of the table: reproduced if its accuracy lies in the measured 95% interval.

    A row is undecided if the interval contains the accuracy of another technique as well.
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
    interval, claimed = results.accuracy(row.arm), row.accuracy / 100
    others = [other.accuracy for other in table1() if other.dataset == row.dataset and other != row]
    verdict: Verdict
    if interval.contains(claimed) and any(interval.contains(other / 100) for other in others):
        verdict = "undecided"
        explanation = (
            "The measured 95% interval is too wide: it also contains the paper's accuracy of other techniques."
        )
    elif interval.contains(claimed):
        verdict, explanation = "reproduced", "The paper's accuracy lies within the measured 95% interval."
    else:
        side = "above" if claimed > interval.value else "below"
        verdict = "not reproduced"
        explanation = (
            f"The paper's accuracy is {100 * abs(claimed - interval.value):.2f} points {side} the measured mean, "
            "outside its 95% interval."
        )
    sources = (Measured(study=row.study, what=what, arm=row.arm) for what in ("accuracy", "epochs"))
    evidence = tuple(result_source(folder, source) for source in sources)
    return Row(name, "numbers", "Table 1", quote, verdict, explanation, evidence)


def _improvement(proposed: TableRow, other: TableRow, folder: Path) -> Row | None:
    results = Results(folder / proposed.study)
    if not results.exists:
        return None
    claimed = (proposed.accuracy - other.accuracy) / 100
    interval, compared = results.difference(proposed.arm, other.arm)
    within = interval.contains(claimed)
    verdict: Verdict = "not reproduced" if not within else "undecided" if interval.contains(0.0) else "reproduced"
    return Row(
        f"improvement-{proposed.dataset}-{other.technique}".lower(),
        "numbers",
        "Table 1",
        f"{proposed.dataset}: {proposed.technique} is {100 * claimed:+.1f} points better than {other.technique}",
        verdict,
        f"On paired seeds, the comparison is {compared}. The claimed {100 * claimed:+.1f} points lie "
        f"{'within' if within else 'outside'} the 95% interval of the difference"
        f"{', as does no difference at all' if verdict == 'undecided' else ''}.",
        (
            result_source(
                folder, Measured(study=proposed.study, what="difference", arm=proposed.arm, against=other.arm)
            ),
        ),
    )
