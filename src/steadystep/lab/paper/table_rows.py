"""Table 1 against what was measured: here the verdict is computed."""

from pathlib import Path

from steadystep.lab.paper.entry import Measured, TableRow, Verdict, table1
from steadystep.lab.paper.results import Results
from steadystep.lab.paper.row import Row, Source, measured

PROPOSED = "Adam + gradient clipping"


def accuracies(folder: Path) -> list[Row]:
    """Each row of the table: reproduced if its accuracy lies in the measured 95% interval.

    An interval that holds the accuracy of another technique as well tells nothing: the row is undecided.
    """
    return [_accuracy(row, folder) for row in table1()]


def improvements(folder: Path) -> list[Row]:
    """Each improvement that the table claims for the proposed technique, where the pair was measured.

    Undecided where the interval holds both the improvement and none at all.
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
    if not (results := Results(folder / row.study)).found:
        explanation = f"Not run here. `steadystep reproduce --task {row.study} --data DIR --device cuda` runs it."
        known = (Source("citation", row.published),) if row.published else ()
        return Row(name, "numbers", "Table 1", quote, "not measured", explanation, known)
    found, claimed = results.accuracy(row.arm), row.accuracy / 100
    others = [other.accuracy for other in table1() if other.dataset == row.dataset and other != row]
    verdict: Verdict
    if found.holds(claimed) and any(found.holds(other / 100) for other in others):
        verdict = "undecided"
        explanation = "The measured 95% interval is too wide: it holds the paper's accuracy of other techniques too."
    elif found.holds(claimed):
        verdict, explanation = "reproduced", "The paper's accuracy lies within the measured 95% interval."
    else:
        side = "above" if claimed > found.value else "below"
        verdict = "not reproduced"
        explanation = (
            f"The paper's accuracy is {100 * abs(claimed - found.value):.2f} points {side} the measured mean, outside "
            "its 95% interval."
        )
    sources = (Measured(study=row.study, what=what, arm=row.arm) for what in ("accuracy", "epochs"))
    evidence = tuple(measured(folder, source) for source in sources)
    return Row(name, "numbers", "Table 1", quote, verdict, explanation, evidence)


def _improvement(proposed: TableRow, other: TableRow, folder: Path) -> Row | None:
    results = Results(folder / proposed.study)
    if not results.found:
        return None
    claimed = (proposed.accuracy - other.accuracy) / 100
    found, compared = results.difference(proposed.arm, other.arm)
    within = found.holds(claimed)
    verdict: Verdict = "not reproduced" if not within else "undecided" if found.holds(0.0) else "reproduced"
    return Row(
        f"improvement-{proposed.dataset}-{other.technique}".lower(),
        "numbers",
        "Table 1",
        f"{proposed.dataset}: {proposed.technique} is {100 * claimed:+.1f} points better than {other.technique}",
        verdict,
        f"On paired seeds the pair is {compared}, and {100 * claimed:+.1f} points lie "
        f"{'within' if within else 'outside'} the 95% interval of the difference"
        f"{', as does no difference at all' if verdict == 'undecided' else ''}.",
        (measured(folder, Measured(study=proposed.study, what="difference", arm=proposed.arm, against=other.arm)),),
    )
