"""A diagnosis leaves everything as it was, to the last bit."""

import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import steadystep
from diagnosis import failures
from steadystep.diagnosis.errors import RunError
from steadystep.recorder.state import take


def everything(run: Any) -> dict[str, Any]:
    state = take(
        run.model, run.optimizer, {name: getattr(run, name) for name in ("scaler", "scheduler") if hasattr(run, name)}
    )
    return {
        "state": state,
        "gradients": [None if p.grad is None else p.grad.clone() for p in run.model.parameters()],
        "identities": [id(p.grad) for p in run.model.parameters()],
        "addresses": [p.data_ptr() for p in run.model.parameters()],
        "modes": [module.training for module in run.model.modules()],
        "types": [p.dtype for p in run.model.parameters()],
        "count": getattr(run, "count", None),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return same(vars(one), vars(other)) if hasattr(one, "__dict__") else one == other


def with_everything() -> Any:
    """Return a run with dropout, buffers, a scheduler and gradients of before, that fails at step 23."""
    run = failures.a_nan_in_the_data()
    run.model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=3e-3)
    run.scheduler = torch.optim.lr_scheduler.ExponentialLR(run.optimizer, 0.99)
    for batch in run.batches[:3]:
        failures._step(run, batch)
        run.scheduler.step()
    return run


@pytest.mark.parametrize(
    "make",
    [
        with_everything,
        failures.eps_below_float16,
        failures.moments_lost_on_the_way,
        failures.clipped_before_unscaling,
        failures.dead_units,
        failures.a_cut_graph,
        failures.classifier,
    ],
    ids=lambda make: make.__name__,
)
def test_everything_is_as_before(make: Any) -> None:
    run = make()
    random.random()
    before = everything(run)
    steadystep.diagnose(run)
    assert same(everything(run), before), "the state of all random generators is a part of it"


def test_also_when_the_run_cannot_be_used() -> None:
    run = with_everything()
    run.loss = lambda model, batch: model(batch[0])
    before = everything(run)
    with pytest.raises(steadystep.RunError, match="must return a scalar tensor"):
        steadystep.diagnose(run)
    assert same(everything(run), before)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": None}, "the run needs `model`, a torch Module"),
        ({"optimizer": "adam"}, "the run needs `optimizer`, a torch Optimizer"),
        ({"loss": None}, "the run needs `loss"),
        ({"batches": []}, "not empty"),
        ({"batches": None}, "the run needs `batches`, a sequence, or `batch\\(index\\)`"),
        ({"step": lambda run, batch: None}, "must return the loss as a float"),
    ],
)
def test_what_a_run_lacks_is_said(changes: dict[str, Any], words: str) -> None:
    run = failures.classifier()
    for name, value in changes.items():
        setattr(run, name, value)
    with pytest.raises(steadystep.RunError, match=words) as caught:
        steadystep.diagnose(run)
    assert "\n" not in str(caught.value)


def regression(**changes: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    inputs = torch.randn(8, 16, 4)
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=3.0),
        "loss": lambda model, batch: (model(batch) ** 2).mean(),
        "batches": list(inputs),
    } | changes


def test_tensors_in_lists_and_dicts_stay_the_same_objects() -> None:
    leaves = [torch.zeros(3), torch.ones(2)]
    inner = np.ones(2)
    kept = {"mean": torch.zeros(4), "seen": [0], "array": inner}
    run = SimpleNamespace(**regression(leaves=leaves, kept=kept))

    def step(run: Any, batch: Any) -> float:
        run.leaves[0] += 1.0
        run.leaves.append(batch.mean())
        run.kept["mean"].add_(batch.mean(0))
        run.kept["seen"][0] += 1
        run.kept["array"] += 1
        run.kept = dict(run.kept)
        run.optimizer.zero_grad()
        loss = run.loss(run.model, batch)
        loss.backward()
        run.optimizer.step()
        return float(loss.detach())

    run.step = step
    first, second = leaves
    mean = kept["mean"]
    assert steadystep.diagnose(run).culprit == "learning-rate"
    assert run.leaves is leaves and leaves[0] is first and leaves[1] is second and len(leaves) == 2
    assert run.kept is kept and kept["mean"] is mean and kept["array"] is inner
    assert not first.any() and not mean.any() and kept["seen"] == [0] and inner.tolist() == [1.0, 1.0]


def test_a_second_model_and_its_optimizer_are_put_back() -> None:
    teacher = nn.Linear(4, 1)
    other = torch.optim.Adam(teacher.parameters(), lr=0.1)
    run = SimpleNamespace(**regression(teacher=teacher, other=other))

    def step(run: Any, batch: Any) -> float:
        for model, optimizer in ((run.teacher, run.other), (run.model, run.optimizer)):
            optimizer.zero_grad()
            loss = run.loss(model, batch)
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    run.step = step
    step(run, run.batches[0])
    before = take(teacher, other)
    assert steadystep.diagnose(run).culprit == "learning-rate"
    assert same(before.model, take(teacher, other).model) and same(before.optimizer, take(teacher, other).optimizer)


class Named(NamedTuple):
    model: Any
    optimizer: Any
    loss: Any
    batches: Any


@dataclass(frozen=True)
class Frozen:
    model: Any
    optimizer: Any
    loss: Any
    batches: Any


@dataclass(frozen=True, slots=True)
class FrozenSlots(Frozen):
    count: int = 0


@dataclass(slots=True)
class Slots:
    model: Any
    optimizer: Any
    loss: Any
    batches: Any
    count: int = 0

    def step(self, batch: Any) -> float:
        self.count += 1
        self.optimizer.zero_grad()
        loss = self.loss(self.model, batch)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


@pytest.mark.parametrize("kind", [Named, Frozen, FrozenSlots, Slots])
def test_a_run_may_be_of_a_class_that_cannot_change(kind: Any) -> None:
    run = kind(**regression())
    assert steadystep.diagnose(run).culprit == "learning-rate"
    assert not isinstance(run, Slots | FrozenSlots) or run.count == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batches": iter([torch.ones(2, 4)])}, "`batches` must be a sequence"),
        ({"batches": {"x": torch.ones(2, 4)}}, "`batches` must be a sequence .* and is a dict"),
        ({"batches": DataLoader([torch.ones(4)])}, r"such as list\(loader\), and is a DataLoader"),  # type: ignore[arg-type]
        ({"batches": None, "batch": lambda index: [][index]}, r"`batch\(0\)` raises IndexError"),
        ({"batches": None, "batch": lambda index: [torch.ones(2, 4)][index]}, r"`batch\(1\)` raises IndexError"),
    ],
)
def test_batches_that_cannot_be_used_are_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=said):
        steadystep.diagnose(SimpleNamespace(**regression(**changes)))


def test_generators_are_put_back_wherever_they_are() -> None:
    generators = [torch.Generator().manual_seed(1), random.Random(1), np.random.default_rng(1)]
    first, second, third = generators
    run = SimpleNamespace(**regression(first=first, others=[second, {"numpy": third}]))

    def step(run: Any, batch: Any) -> float:
        noise = torch.randn(4, generator=run.first) + run.others[0].random() + run.others[1]["numpy"].random()
        run.optimizer.zero_grad()
        loss = run.loss(run.model, batch + 1e-3 * noise)
        loss.backward()
        run.optimizer.step()
        return float(loss.detach())

    run.step = step
    found = steadystep.diagnose(run)
    assert found.culprit == "learning-rate" and found.verified, "it can be replayed"
    assert run.first is first and run.others[0] is second and run.others[1]["numpy"] is third
    assert torch.equal(first.get_state(), torch.Generator().manual_seed(1).get_state())
    assert second.getstate() == random.Random(1).getstate()
    assert third.bit_generator.state == np.random.default_rng(1).bit_generator.state
