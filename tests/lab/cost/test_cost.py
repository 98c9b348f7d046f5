"""Measure the cost of arms on the tiny task and check the statistics of synthetic times."""

import csv
from pathlib import Path

import pytest
import torch

import steadystep
from lab_factory import ENVIRONMENT, make_task
from steadystep.lab.cost.arms import CostArm, cost_arms
from steadystep.lab.cost.measure import Cost, CostResults, Times, measure, state_bytes
from steadystep.lab.cost.summary import summarise_costs
from steadystep.lab.errors import UserError
from steadystep.lab.report.cost.report import answer, cost_document
from steadystep.lab.report.document import html, markdown, write_document
from steadystep.lab.tasks.clips import CLIPS
from steadystep.optimizers import OPTIMIZERS
from tiny_study import TASK

PARAMETERS = 6 * 16 + 16 + 16 * 3 + 3


def synthetic_results() -> CostResults:
    """Make results for SGD, Adam and clipped Adam over five rounds, with a slow machine in the third round."""
    slow = (1, 1, 10, 1, 1)

    def times(rest: float, optimizer: float) -> Times:
        return Times(tuple(rest * s for s in slow), tuple(optimizer * s for s in slow))

    costs = (
        Cost(CostArm("SGD"), None, times(3.0, 1.0), 0),
        Cost(CostArm("Adam"), None, times(3.0, 2.0), 800),
        Cost(CostArm("Adam", "norm"), 0.5, times(3.0, 3.0), 808),
    )
    return CostResults(make_task(), costs, parameters=100, batch_size=64, rounds=5, environment=ENVIRONMENT)


def test_ratios_are_taken_within_a_round() -> None:
    sgd, adam, clipped = summarise_costs(synthetic_results())
    assert (adam.relative.low, adam.relative.median, adam.relative.high) == (2.0, 2.0, 2.0)
    assert (sgd.share.median, adam.share.median, clipped.share.median) == (0.25, 0.4, 0.5)
    assert adam.added is None and clipped.added is not None and clipped.added.median == 1.0
    assert (sgd.bytes_per_parameter, adam.bytes_per_parameter, clipped.bytes_per_parameter) == (0, 8.0, 8.08)
    assert answer((sgd, adam, clipped)) == (
        "The optimizer takes 25% of a training step (SGD) to 40% (Adam); clipping adds 1 ms (Adam + norm)."
    )


def test_every_optimizer_and_every_clipper_is_measured_by_default() -> None:
    arms = cost_arms()
    assert [arm.optimizer for arm in arms if not arm.clip] == list(OPTIMIZERS)
    assert [arm.clip for arm in arms if arm.clip] == list(CLIPS)


@pytest.mark.parametrize(
    ("name", "words"), [("Adm", ("'Adm'", "AdamW")), ("Adam+nrom", ("'nrom'", "norm, value")), ("Adam+", ("''", "agc"))]
)
def test_unknown_names_are_refused(name: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as refused:
        cost_arms([name])
    assert all(word in str(refused.value) for word in words) and "\n" not in str(refused.value)


def test_state_bytes_counts_the_state_tensors() -> None:
    parameter = torch.ones(10, requires_grad=True)
    parameter.grad = torch.ones(10)
    optimizer = steadystep.Adam([parameter])
    optimizer.step()
    # Two moments of ten float32 numbers, plus the step count and the ledger.
    moments = {value.nbytes for value in optimizer.state[parameter].values() if value.numel() == 10}
    assert moments == {40} and 80 < state_bytes(optimizer) < 80 + 400
    assert state_bytes(steadystep.SGD([torch.ones(3, requires_grad=True)])) == 0


def test_arms_take_turns_and_the_random_state_is_restored() -> None:
    calls: list[tuple[float, str]] = []
    before = torch.get_rng_state()
    results = measure(
        TASK, None, cost_arms(["Adam", "Adam+norm", "Adam+adagc"]), 0.05, lambda *call: calls.append(call)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert results.parameters == PARAMETERS and results.batch_size == 16 and results.rounds >= 5
    turns = [arm for _, arm in calls if not arm.startswith("warming")]
    assert turns == ["SGD", "Adam", "Adam + norm", "Adam + adagc"] * results.rounds
    shares = [share for share, _ in calls]
    assert shares == sorted(shares) and shares[-1] <= 1
    for cost in results.costs:
        assert len(cost.times.optimizer) == results.rounds
        assert all(ms > 0 for ms in (*cost.times.optimizer, *cost.times.forward_backward))
    sgd, adam, norm, adagc = results.costs
    assert adam.state_bytes - sgd.state_bytes >= 2 * 4 * PARAMETERS
    assert norm.threshold is not None and norm.threshold > 0 and adagc.threshold == CLIPS["adagc"].default
    assert adagc.state_bytes > adam.state_bytes  # the clipper stores norms


def test_the_document(tmp_path: Path) -> None:
    document = cost_document(synthetic_results(), "steadystep cost <b>")
    assert [path.name for path in write_document(document, tmp_path)] == ["cost.html", "cost.md", "cost.csv"]
    page = html(document)
    assert "steadystep cost &lt;b&gt;" in page and "<b>" not in page.split('id="plots"')[0]
    assert "made up" in page and "2 threads" in page
    assert "| Adam + norm | 3.00 | 3.00 | 3.00 to 3.00 | 50.0 | 3.00 | +1 | 8.08 |" in markdown(document)
    rows = list(csv.DictReader((tmp_path / "cost.csv").open()))
    assert [row["arm"] for row in rows] == ["SGD", "Adam", "Adam + norm"]
    assert (rows[2]["added_ms"], rows[1]["added_ms"], rows[1]["times_sgd_high"]) == ("1.0", "", "2.0")
