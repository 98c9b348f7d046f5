"""The parts of a diagnosis: batches cut by example, replays, wider types, and the functions that a model calls."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import steadystep
from diagnosis import failures
from steadystep.diagnosis import examples
from steadystep.diagnosis.changes import clipped, learning_rate, option, without
from steadystep.diagnosis.operations import Seen, operations
from steadystep.diagnosis.play import hooked, play
from steadystep.diagnosis.precision import widened
from steadystep.diagnosis.run import Run


@given(st.integers(2, 40), st.sets(st.integers(0, 39), max_size=5))
def test_the_bad_examples_are_found_if_they_are_few(size: int, wanted: set[int]) -> None:
    bad = {number for number in wanted if number < size}
    batch = {"x": torch.arange(size), "names": np.arange(size), "scale": 2.0}
    found = examples.culprits(batch, lambda part: bool(bad & set(part["x"].tolist())))
    assert set(found) == (bad if len(bad) <= 3 and len(bad) < size else set())


def test_no_example_is_named_if_only_two_together_are_bad() -> None:
    assert examples.culprits(torch.arange(8), lambda part: {2, 5} <= set(part.tolist())) == []


@given(st.lists(st.integers(0, 5), max_size=6))
def test_a_part_of_a_batch_has_the_chosen_examples_of_each_tensor(chosen: list[int]) -> None:
    batch = (torch.arange(12.0).view(6, 2), [torch.arange(6), {"mask": np.arange(6)}], torch.arange(3), "text")
    x, (y, masks), other, text = examples.subset(batch, chosen)
    assert x.tolist() == batch[0][chosen].tolist() and y.tolist() == chosen and masks["mask"].tolist() == chosen
    assert other.tolist() == [0, 1, 2] and text == "text"


def plain(run: Any, steps: int) -> list[float]:
    return [failures._step(run, run.batches[step]) for step in range(steps)]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "guarded"])
def test_a_replay_without_a_change_is_the_run_to_the_last_bit(optimizer: str) -> None:
    def make() -> Any:
        run = failures.classifier()
        run.model = nn.Sequential(nn.Linear(20, 16), nn.Dropout(0.5), nn.BatchNorm1d(16), nn.Linear(16, 4))
        if optimizer == "guarded":
            run.optimizer = steadystep.guard(torch.optim.Adam(run.model.parameters(), lr=1e-2), clip=1.0)
        else:
            run.optimizer = getattr(torch.optim, optimizer)(run.model.parameters(), lr=1e-2)
        torch.manual_seed(5)
        return run

    expected = plain(make(), 30)
    run = Run(make())
    start = run.take()
    for _ in range(2):
        assert play(run, start, range(30)).losses == expected


def test_changes_are_made_and_undone() -> None:
    given_run = failures.classifier()
    given_run.optimizer = torch.optim.SGD(given_run.model.parameters(), lr=0.5)
    run = Run(given_run)
    start = run.take()
    base = play(run, start, range(3)).steps
    slow = play(run, start, range(3), learning_rate(0.1)).steps
    assert slow[0].update == pytest.approx(base[0].update / 10, rel=1e-4)
    assert given_run.optimizer.param_groups[0]["lr"] == 0.5
    cut = play(run, start, range(3), clipped(1e-3)).steps
    assert cut[0].gradient == pytest.approx(1e-3, rel=1e-3)
    left = play(run, start, range(3), without(lambda index: index == 1, "one left out")).steps
    assert [step.skipped for step in left] == [False, True, False] and left[2].loss == pytest.approx(
        play(run, start, (0, 2)).steps[1].loss
    )
    run.put_back(start)
    play(run, start, range(1), option("momentum", 0.9))
    assert given_run.optimizer.param_groups[0]["momentum"] == 0.9
    run.put_back(start)
    assert given_run.optimizer.param_groups[0]["momentum"] == 0


def test_an_optimizer_inside_another_counts_once() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = steadystep.guard(torch.optim.SGD([parameter], lr=0.1))
    parameter.grad = torch.ones(3)
    seen: list[str] = []
    with hooked(lambda given: seen.append("before"), lambda given: seen.append("after")):
        optimizer.step()
    optimizer.step()
    assert seen == ["before", "after"]


def test_counters_in_attributes_closures_and_globals_start_over() -> None:
    count = 0

    def step(run: Any, batch: Any) -> float:
        nonlocal count
        count += 1
        run.calls["all"] += 1
        COUNTS.append(count)
        return failures._step(run, batch)

    given_run = failures.classifier(calls={"all": 0})
    given_run.step = step
    calls = given_run.calls
    run = Run(given_run)
    start = run.take()
    for _ in range(2):
        play(run, start, range(4))
        assert (count, given_run.calls, list(COUNTS)) == (4, {"all": 4}, [1, 2, 3, 4])
    assert given_run.calls is calls, "containers are restored in place"
    run.put_back(start)
    assert (count, COUNTS) == (0, [])


COUNTS: list[int] = []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_wider_type_holds_everywhere_and_is_undone(dtype: torch.dtype) -> None:
    model: Any = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).half()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model[0].weight.grad = torch.ones_like(model[0].weight)
    optimizer.step()
    run = Run(SimpleNamespace(model=model, optimizer=optimizer, loss=lambda model, batch: batch.sum(), batches=[0]))
    before = {name: (value.dtype, value.data_ptr()) for name, value in model.state_dict().items()}
    with widened(run, dtype):
        inside = torch.zeros(2, dtype=torch.float16)
        with torch.autocast("cpu", torch.float16):
            product = torch.ones(2, 2, dtype=dtype) @ torch.ones(2, 2, dtype=dtype)
        assert {parameter.dtype for parameter in model.parameters()} == {dtype} == {inside.dtype, product.dtype}
        assert torch.ones(1, dtype=dtype).half().dtype == dtype
        assert optimizer.state[model[0].weight]["exp_avg"].dtype == dtype
    assert {name: (value.dtype, value.data_ptr()) for name, value in model.state_dict().items()} == before
    assert optimizer.state[model[0].weight]["exp_avg"].dtype == torch.float16


class Root(nn.Module):
    """A layer whose output has a root, and an intended mask."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        masked = self.layer(x).masked_fill(torch.eye(3, dtype=torch.bool), -torch.inf)
        return masked.softmax(-1) * x.abs().sqrt()


def test_functions_are_named_with_module_and_line_and_masks_are_no_fault() -> None:
    model = nn.Sequential(Root(), nn.Tanh())
    x = torch.zeros(3, 3, requires_grad=True)
    seen = Seen()
    with operations(model, seen) as followed:
        loss = model(x).sum()
    followed.watch_backward()
    loss.backward()
    assert seen.first("forward") is None
    event = seen.first("backward")
    assert event is not None and (event.place.module, event.place.function) == ("0", "sqrt")
    assert event.place.line.startswith("test_parts.py:") and str(event.place) == "0 (sqrt)"
    names = {call.place.module for call in seen.calls}
    assert {"0.layer", "0", "1"} <= names


def test_an_overflow_is_named_where_it_begins() -> None:
    model: Any = nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=-1))
    with torch.no_grad():
        model[0].weight.fill_(3e38)
    seen = Seen()
    with operations(model, seen):
        out = model(torch.full((1, 2), 1e3))
    assert not bool(torch.isfinite(out).all())
    event = seen.first("forward")
    assert event is not None and (event.place.module, event.place.function, event.became) == ("0", "linear", "inf")
