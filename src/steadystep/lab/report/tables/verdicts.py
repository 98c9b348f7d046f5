"""The table of the numbers behind every verdict."""

from steadystep.lab.counted import measure
from steadystep.lab.report.cells import NOTHING, margin, p_value, percent, points, points_interval
from steadystep.lab.report.seeds import looks_words
from steadystep.lab.report.table import Column, Table
from steadystep.lab.report.verdict_words import claimed_difference
from steadystep.lab.statistics.reported import TOO_FEW
from steadystep.lab.statistics.summary import Summary
from steadystep.lab.study.records import Results

NEEDED = "Seeds to decide"
COLUMNS = (
    Column("Pair"),
    Column("Verdict", kind="verdict"),
    Column("Difference", "points", "number"),
    Column("95% interval", "points", "number"),
    Column("Paper", "points", "number"),
    Column("p, different", kind="number"),
    Column("p, equivalent", kind="number"),
    Column("Seeds won", "%", "number"),
    Column("Pairs", kind="number"),
    Column(NEEDED, kind="number"),
)


def verdicts_table(results: Results, summary: Summary) -> Table:
    """Return one row per pair of arms, with the paper's difference if it makes a claim for both."""
    rows = []
    for verdict in summary.verdicts:
        claimed = claimed_difference(verdict, results.task)
        rows.append(
            [
                f"{verdict.arm} vs {verdict.against}",
                verdict.verdict,
                points(verdict.difference.mean),
                points_interval(verdict.difference) or (TOO_FEW if verdict.pairs else NOTHING),
                NOTHING if claimed is None else points(claimed),
                p_value(verdict.p_difference),
                p_value(verdict.p_equivalence),
                percent(verdict.improvement, 0),
                str(verdict.pairs),
                NOTHING if verdict.seeds_needed is None else f"about {verdict.seeds_needed:,}",
            ]
        )
    width = measure(margin(results.task.margin), "point")
    table = Table.of(
        "The numbers behind the verdicts",
        COLUMNS,
        rows,
        f"Equivalent: shown to differ by less than {width}. Better, worse: shown to differ.",
        "Differences of test accuracy on paired seeds: same initial weights, same data order. Equivalent: both "
        "one-sided paired t tests at the margin reject. Otherwise better or worse: the two-sided paired t test "
        "rejects. Otherwise undecided. p values are Holm-adjusted over all pairs and compared with 0.05. Seeds won: "
        "ties count half. Seeds to decide: with about so many, the pair would be decided with a probability of 80% if "
        f"it stayed as it is.{looks_words(results)}",
    )
    if not any(verdict.seeds_needed for verdict in summary.verdicts):
        table = table.without(NEEDED)
    return table if results.task.claims else table.without("Paper")
