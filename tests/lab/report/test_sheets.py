import csv
import io
import math
from dataclasses import asdict, fields

import numpy as np
import pytest

from lab_factory import ARMS, make_results, make_task
from steadystep.lab.report.sheets import as_csv, convergence_csv, summary_csv, verdicts_csv
from steadystep.lab.statistics.summarise import summarise
from steadystep.lab.statistics.summary import ArmSummary, Convergence, Estimate, Verdict
from steadystep.lab.study.spec import Arm
from steadystep.lab.tasks.loss_unit import BITS

NAME = 'Adam, "clipped"\n<script>alert(1)</script>=1+1'


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_number_of_the_summary_is_written_exactly() -> None:
    results = make_results(diverged={"Adam": (1,)})
    summary = summarise(results)
    rows = read(summary_csv(results, summary))
    assert len(rows) == len(summary.arms) == 9
    for read_back, row in zip(rows, summary.arms, strict=True):
        for field in fields(ArmSummary):
            value = getattr(row, field.name)
            if field.name == "test_also":
                assert value == {}  # this task has no further metrics
            elif isinstance(value, Estimate):
                ends = (read_back[field.name], read_back[f"{field.name}_low"], read_back[f"{field.name}_high"])
                assert tuple(map(float, ends)) == (value.mean, value.low, value.high)
            else:
                assert read_back[field.name] == ("" if value is None else str(value))
        claim = results.task.claims[row.arm]
        assert (float(read_back["paper_accuracy"]), int(read_back["paper_epochs"])) == (claim.accuracy, claim.epochs)
        assert read_back["clip"] == ("norm" if row.arm == "Adam + clip" else "")


def test_losses_are_in_nats_and_in_the_unit_of_the_task() -> None:
    results = make_results(task=make_task(loss_unit=BITS))
    summary = summarise(results)
    for read_back, row in zip(read(summary_csv(results, summary)), summary.arms, strict=True):
        for end in ("", "_low", "_high"):
            nats = float(read_back[f"test_loss{end}"])
            assert nats == getattr(row.test_loss, end.strip("_") or "mean")
            assert float(read_back[f"test_bits{end}"]) == nats / math.log(2)


def test_verdicts_and_convergence_are_written_exactly() -> None:
    summary = summarise(make_results())
    for text, rows, kind in (
        (verdicts_csv(summary), summary.verdicts, Verdict),
        (convergence_csv(summary), summary.convergence, Convergence),
    ):
        found = read(text)
        assert len(found) == len(rows)
        names = [field.name for field in fields(kind) if field.name != "difference"]
        for read_back, row in zip(found, rows, strict=True):
            expected = {name: "" if asdict(row)[name] is None else str(asdict(row)[name]) for name in names}
            assert {name: read_back[name] for name in names} == expected
    assert float(read(verdicts_csv(summary))[0]["difference_low"]) == summary.verdicts[0].difference.low


def test_names_with_special_characters_are_preserved() -> None:
    arm = Arm(name=NAME, optimizer="Adam", lrs=(0.1, 0.2, 0.3))
    results = make_results(arms=[arm], accuracy={NAME: 0.9})
    assert {row["arm"] for row in read(summary_csv(results, summarise(results)))} == {NAME}


def cells(value: object) -> list[list[str]]:
    """Return the header and the row of a sheet with one text or number."""
    text = as_csv([{"cell": value, "estimate": {"mean": -0.5, "low": -1.5, "high": 1e-9}}])
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
@pytest.mark.parametrize("rest", ["1+1", "cmd|' /C calc'!A0", 'SUM(1,"2")', "", "0.5"])
def test_a_text_that_starts_like_a_formula_is_a_text(start: str, rest: str) -> None:
    (_, (cell, *_)) = cells(start + rest)
    assert cell == f"'{start}{rest}"


@pytest.mark.parametrize(
    "text",
    ["Adam\r=1+1", "Adam\n=1+1", "Adam\r\n=1+1", '",=1+1', "Adam + clip", "a=1", "'=1", "", " =1", "10%", "SGD-m", "é"],
)
def test_another_text_is_written_as_it_is(text: str) -> None:
    (_, (cell, *_)) = cells(text)
    assert cell == text


@pytest.mark.parametrize("number", [-0.5, -1, 0, 1e-300, -math.inf, math.nan, True, np.float64(-0.25), None])
def test_a_number_stays_a_number(number: object) -> None:
    (header, (cell, *estimate)) = cells(number)
    assert cell == ("" if number is None else str(number))
    assert header == ["cell", "estimate", "estimate_low", "estimate_high"] and estimate == ["-0.5", "-1.5", "1e-09"]


def test_a_name_like_a_formula_is_a_text_in_every_sheet() -> None:
    formula, other = '=HYPERLINK("x")', "@SUM(1)"
    arms = [Arm(name=name, optimizer="Adam", options={"eps": eps}, lrs=(0.1, 0.2, 0.3)) for name, eps in
            ((formula, 1e-8), (other, 1e-9))]  # fmt: skip
    results = make_results(arms=arms, accuracy={formula: 0.9, other: 0.8})
    summary = summarise(results)
    for text in (summary_csv(results, summary), verdicts_csv(summary), convergence_csv(summary)):
        rows = read(text)
        assert rows and {row["arm"] for row in rows} <= {f"'{formula}", f"'{other}"}
        assert not any(cell.startswith(("=", "@", "+")) for row in rows for cell in row.values())


def test_missing_measurements_are_nan_and_inapplicable_cells_are_empty() -> None:
    results = make_results(arms=ARMS[:1], seeds=1, budgets=(1,), task=make_task(claims={}))
    summary = summarise(results)
    (row,) = read(summary_csv(results, summary))
    assert math.isnan(float(row["test_accuracy_low"]))
    assert row["threshold"] == row["paper_accuracy"] == ""
    assert read(verdicts_csv(summary)) == []


def test_a_study_of_one_arm_has_a_table_without_verdicts() -> None:
    alone, several = (summarise(make_results(arms=arms)) for arms in (ARMS[:1], ARMS))
    assert verdicts_csv(alone) == verdicts_csv(several).splitlines()[0] + "\n"
    assert read(verdicts_csv(alone)) == []
