"""The doctor on a black box: it says whether the run is the recorded one, and takes what a trainer has recorded."""

from collections import OrderedDict, UserDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import steadystep
from steadystep.diagnosis.boxed_run import BoxedRun, in_classes_of
from steadystep.diagnosis.errors import RunError
from steadystep.recorder.folder import load

STEPS = 12


def make_run(**changes: Any) -> SimpleNamespace:
    """Return a regression of 20 batches with a rate that falls in every step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    inputs = torch.randn(20, 16, 4, generator=torch.Generator().manual_seed(1))
    run = SimpleNamespace(
        model=model,
        optimizer=optimizer,
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        batches=[(x, x.sum(1, keepdim=True)) for x in inputs],
        scheduler=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8),
    )
    vars(run).update(changes)
    return run


def record(run: SimpleNamespace, folder: Path, name: str = "scheduler", bad: int | None = None) -> None:
    """Record some steps of a run in a box, whose data are broken in one of them."""
    box = steadystep.blackbox(run.model, run.optimizer, folder, others={name: run.scheduler}, every=4)
    for number, (x, y) in enumerate(box.watch(run.batches[:STEPS])):
        run.optimizer.zero_grad()
        loss = run.loss(run.model, (x * float("nan"), y) if number == bad else (x, y))
        box.loss(loss)
        if number != bad:
            loss.backward()
            run.optimizer.step()
            run.scheduler.step()
    box.save()
    box.close()


@pytest.mark.parametrize("name", ["scheduler", "scheduler 0", "scheduler_3"])
def test_a_scheduler_of_another_name_goes_on_where_it_was(name: str, tmp_path: Path) -> None:
    record(make_run(), tmp_path, name)
    found = steadystep.diagnose(make_run(), box=tmp_path)
    assert found.healthy and found.evidence[-1].swap == "the steps of the box"
    assert found.evidence[-1].outcome == "as recorded"


def test_trouble_that_a_replay_does_not_show_is_told(tmp_path: Path) -> None:
    record(make_run(), tmp_path, bad=9)
    found = steadystep.diagnose(make_run(), box=tmp_path)
    assert found.exit_code == 4 and found.culprit is None and not found.fix
    assert "the box says of step 9: loss not finite (nan); a replay from its snapshot before step" in found.sentence
    assert "the loss of step 9 is" in found.sentence and "instead of inf" in found.sentence


def test_a_run_without_the_recorded_scheduler_is_told(tmp_path: Path) -> None:
    record(make_run(), tmp_path)
    run = make_run()
    del run.scheduler
    found = steadystep.diagnose(run, box=tmp_path)
    (told,) = [each.outcome for each in found.evidence if each.swap == "the steps of the box"]
    assert told.startswith("the loss of step") or told.endswith("is a scheduler missing?")


def another_model() -> SimpleNamespace:
    return make_run(model=nn.Linear(4, 1))


def another_optimizer() -> SimpleNamespace:
    run = make_run()
    groups = [{"params": list(run.model[0].parameters())}, {"params": list(run.model[2].parameters())}]
    return make_run(model=run.model, optimizer=torch.optim.SGD(groups, lr=0.05))


def another_scheduler() -> SimpleNamespace:
    class Strict:
        def state_dict(self) -> dict[str, int]:
            return {}

        def load_state_dict(self, state: dict[str, int]) -> None:
            if state:
                raise KeyError("it has no place for that")

    return make_run(scheduler=Strict(), step=lambda run, batch: 0.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (another_model, "the box is of another model"),
        (another_optimizer, "the box is of another optimizer: that had 1 parameter groups, and the run's has 2"),
        (another_scheduler, "the state in the box does not fit the run: KeyError"),
    ],
)
def test_a_run_that_is_not_that_of_the_box(make: Callable[[], Any], said: str, tmp_path: Path) -> None:
    record(make_run(), tmp_path)
    with pytest.raises(RunError, match=said):
        steadystep.diagnose(make(), box=tmp_path)


def test_a_box_that_the_run_attaches_stays_as_it_was(tmp_path: Path) -> None:
    record(make_run(), tmp_path, bad=9)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run = make_run()
    box = steadystep.blackbox(run.model, run.optimizer, tmp_path)

    def step(run: Any, batch: Any) -> float:
        box.batch(batch)
        run.optimizer.zero_grad()
        loss = run.loss(run.model, batch)
        box.loss(loss * float("inf"))
        loss.backward()
        run.optimizer.step()
        return float(loss.detach())

    run.step = step
    steadystep.diagnose(run, box=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before and box.trigger is None


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor

    @property
    def size(self) -> int:
        return len(self.x)


class Encoded(dict[str, Any]):
    """A dict with attributes, as tokenizers return."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@pytest.mark.parametrize(
    "batch",
    [
        Pair(torch.ones(2), torch.zeros(2)),
        pack_sequence([torch.ones(3, 2), torch.ones(1, 2)]),
        UserDict(x=torch.ones(2), inner=UserDict(y=torch.ones(1))),
        Encoded(x=torch.ones(2)),
        OrderedDict(x=[Pair(torch.ones(1), torch.ones(1)), {"z": 3}]),
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_batches_come_back_in_the_classes_of_the_run(batch: Any, tmp_path: Path) -> None:
    run = make_run(batches=[batch])
    box = steadystep.blackbox(run.model, run.optimizer, tmp_path)
    box.batch(batch)
    run.model(torch.ones(1, 4)).sum().backward()
    run.optimizer.step()
    box.save()
    box.close()
    back = BoxedRun(run, load(tmp_path)).batch(0)
    assert type(back) is type(batch) and back is not batch
    if isinstance(batch, PackedSequence):
        assert torch.equal(back.data, batch.data) and torch.equal(back.batch_sizes, batch.batch_sizes)
    elif isinstance(batch, Pair):
        assert back.size == 2
    else:
        assert type(back["x"]) is type(batch["x"])
    if isinstance(batch, OrderedDict):
        assert type(back["x"][0]) is Pair and back["x"][1] == {"z": 3}


def test_a_class_that_takes_nothing_leaves_a_plain_value() -> None:
    class Odd(UserDict[str, int]):
        def __init__(self) -> None:
            super().__init__()

    assert in_classes_of(Odd(), {"x": 1}) == {"x": 1}
