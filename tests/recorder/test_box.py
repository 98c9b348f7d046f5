"""The box: its records are those that one would compute by hand, and its snapshots bring a run back to the bit."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import steadystep
from cases import OPTIMIZERS, OptimizerCase
from steadystep.recorder.box import BlackBox
from steadystep.recorder.folder import load
from steadystep.recorder.pause import pause
from steadystep.recorder.recording import Recording
from steadystep.recorder.state import put_back
from steadystep.recorder.triggers import GRADIENT, LOSS, REFUSED

Make = Callable[[Any], torch.optim.Optimizer]


def make_model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 400), nn.Linear(400, 3)
    )


def make_batches(count: int, size: int = 16) -> list[tuple[torch.Tensor, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    inputs = [torch.randn(size, 6, generator=random) for _ in range(count)]
    return [(x, x[:, :3].argmax(1)) for x in inputs]


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    box: BlackBox,
    batches: Any,
    after: bool = False,
    each: Callable[[], None] = lambda: None,
) -> list[float]:
    losses = []
    for x, y in box.watch(batches):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        losses.append(loss.item())
        if not after:
            box.loss(loss)
        loss.backward()
        optimizer.step()
        if after:
            box.loss(loss)
        each()
    return losses


def train_scaled(
    model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, box: BlackBox, batches: Any
) -> None:
    for x, y in box.watch(batches):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        box.loss(loss)


TORCH: dict[str, Make] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "Adam foreach": lambda p: torch.optim.Adam(p, lr=1e-2, foreach=True),
    "Adam fused": lambda p: torch.optim.Adam(p, lr=1e-2, fused=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=1e-2),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=1e-2),
    "guarded AdamW": lambda p: steadystep.guard(torch.optim.AdamW(p, lr=1e-2), clip=1.0),
    "guarded, nothing to do": lambda p: steadystep.guard(torch.optim.SGD(p, lr=1e-2), nonfinite="propagate"),
    "guarded SGD, undo": lambda p: steadystep.guard(torch.optim.SGD(p, lr=1e-2), undo=True),
    "AdamW, nothing to do": lambda p: steadystep.AdamW(p, lr=1e-2, nonfinite="propagate"),
    "AdamW eager": lambda p: steadystep.AdamW(p, lr=1e-2, clip=1.0, backend="eager"),
    "AdamW per tensor": lambda p: steadystep.AdamW(p, lr=1e-2, clip=steadystep.ClipNorm(0.1, scope="parameter")),
    "AdamW by unit": lambda p: steadystep.AdamW(p, lr=1e-2, clip=steadystep.AGC(0.05)),
}


def by_hand(make: Make, steps: int = 12) -> tuple[Recording, dict[str, np.ndarray], list[float]]:
    """Train with a box, and measure the same things around each step."""
    model = make_model()
    optimizer = make(model.named_parameters())
    parameters = list(model.parameters())
    found: dict[str, list[list[float]]] = {"gradient": [], "largest": [], "update": []}
    box = steadystep.blackbox(model, optimizer, None)
    losses = []
    for x, y in box.watch(make_batches(steps)):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        found["gradient"].append([gradient.norm().item() for gradient in gradients])
        found["largest"].append([gradient.abs().max().item() for gradient in gradients])
        before = [parameter.detach().clone() for parameter in parameters]
        optimizer.step()
        moved = [(now.detach() - old).norm().item() for now, old in zip(parameters, before, strict=True)]
        found["update"].append(moved)
        box.loss(loss)
        losses.append(loss.item())
    return box.recording(), {name: np.array(rows) for name, rows in found.items()}, losses


def check(make: Make, rtol_of_large: float = 2e-4) -> None:
    recording, expected, losses = by_hand(make)
    np.testing.assert_array_equal(recording.steps, np.arange(12))
    np.testing.assert_array_equal(recording.loss, losses)
    np.testing.assert_array_equal(recording.applied, 1.0)
    sampled = recording.names.index("4.weight")  # which has more elements than a sample
    for name, rows in expected.items():
        found = getattr(recording, name)
        np.testing.assert_allclose(found[:, sampled], rows[:, sampled], rtol=rtol_of_large, err_msg=name)
        exact = np.delete(np.arange(len(recording.names)), sampled)
        np.testing.assert_allclose(found[:, exact], rows[:, exact], rtol=2e-4, atol=1e-6, err_msg=name)
    assert recording.names == tuple(name for name, _ in make_model().named_parameters())
    weights = [parameter.detach().norm().item() for parameter in make_model().parameters()]
    np.testing.assert_allclose(recording.weight[0], weights, rtol=1e-5, atol=1e-7)
    assert recording.trigger is None


@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_records_of_this_package_are_those_by_hand(case: OptimizerCase) -> None:
    check(lambda parameters: case.make(parameters, clip=0.5))


@pytest.mark.parametrize("name", TORCH)
def test_records_of_other_optimizers_are_those_by_hand(name: str) -> None:
    check(TORCH[name], rtol_of_large=0.1)


def test_the_clip_factor_and_the_learning_rates_are_recorded() -> None:
    model = make_model()
    groups = [{"params": list(model[0].parameters())}, {"params": list(model[4].parameters()), "lr": 0.5}]
    optimizer = steadystep.SGD(groups, lr=0.1, clip=0.01)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    box = steadystep.blackbox(model, optimizer, None)
    factors: list[float] = []

    def each() -> None:
        factors.append(optimizer.ledger["scale"])
        scheduler.step()

    train(model, optimizer, box, make_batches(6), each=each)
    recording = box.recording()
    np.testing.assert_array_equal(recording.lr, np.outer(0.5 ** np.arange(6), [0.1, 0.5]))
    np.testing.assert_allclose(recording.scale, factors)
    assert recording.scale.max() < 1.0


@pytest.mark.parametrize("batches", [True, False], ids=["batches given", "no batches"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
def test_a_loss_belongs_to_its_step_whether_it_is_given_before_or_after(after: bool, batches: bool) -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    box = steadystep.blackbox(model, optimizer, None)
    for number, (x, y) in enumerate(make_batches(5)):
        if batches:
            box.batch((x, y))
        nn.functional.cross_entropy(model(x), y).backward()
        if not after:
            box.loss(float(number))
        optimizer.step()
        if after:
            box.loss(float(number))
    np.testing.assert_array_equal(box.recording().loss, np.arange(5.0))


def test_a_loss_that_is_given_now_and_then_belongs_to_the_batch_before_it() -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    box = steadystep.blackbox(model, optimizer, None)
    for number, (x, y) in enumerate(box.watch(make_batches(5))):
        if number % 2:
            box.loss(float(number))
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    np.testing.assert_array_equal(box.recording().loss, [np.nan, 1.0, np.nan, 3.0, np.nan])


def test_a_step_that_was_not_taken_leaves_no_loss_behind() -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    box = steadystep.blackbox(model, optimizer, None)
    for number, (x, y) in enumerate(box.watch(make_batches(5))):
        nn.functional.cross_entropy(model(x), y).backward()
        if number != 2:  # as a GradScaler decides
            optimizer.step()
        box.loss(float(number))
    np.testing.assert_array_equal(box.recording().loss, [0.0, 1.0, 3.0, 4.0])


def test_the_ring_keeps_the_last_steps_and_the_last_batches() -> None:
    model, batches = make_model(), make_batches(50)
    optimizer = steadystep.Adam(model.parameters(), lr=1e-3)
    box = steadystep.blackbox(model, optimizer, None, steps=20, batches=4)
    losses = train(model, optimizer, box, batches)
    recording = box.recording()
    np.testing.assert_array_equal(recording.steps, np.arange(30, 50))
    np.testing.assert_array_equal(recording.loss, losses[30:])
    assert list(recording.batches) == [46, 47, 48, 49]
    assert all(recording.batches[step] is batches[step] for step in recording.batches)


@pytest.mark.parametrize("make", [lambda p: steadystep.AdamW(p, lr=1e-2, clip=1.0), TORCH["AdamW"], TORCH["SGD"]])
def test_a_snapshot_brings_the_run_back_to_the_bit(make: Make) -> None:
    model = make_model()
    optimizer = make(model.parameters())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=40)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0, growth_interval=3)
    box = steadystep.blackbox(model, optimizer, None, scaler=scaler, scheduler=scheduler, every=4)

    def step(x: torch.Tensor, y: torch.Tensor) -> float:
        optimizer.zero_grad()
        noisy = x + 1e-3 * random.random() + 1e-3 * float(np.random.rand())  # noqa: NPY002, the state that is restored
        loss = nn.functional.cross_entropy(model(noisy), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        box.loss(loss)
        return loss.item()

    batches = make_batches(30)
    losses = [step(*batch) for batch in box.watch(batches)]
    box.close()
    snapshots = box.recording().snapshots
    assert [snapshot.step for snapshot in snapshots] == [24, 28]
    end = {name: value.clone() for name, value in model.state_dict().items()}
    for snapshot in snapshots:
        put_back(snapshot.state, model, optimizer, {"scaler": scaler, "scheduler": scheduler})
        assert [step(*batch) for batch in batches[snapshot.step :]] == losses[snapshot.step :]
        for name, value in model.state_dict().items():
            assert torch.equal(value, end[name]), name


def test_snapshots_use_their_memory_again() -> None:
    model = make_model()
    optimizer = steadystep.AdamW(model.parameters(), lr=1e-3)
    box = steadystep.blackbox(model, optimizer, None, every=1)
    train(model, optimizer, box, make_batches(4))
    before = {id(tensor) for snapshot in box.recording().snapshots for tensor in snapshot.state.model.values()}
    train(model, optimizer, box, make_batches(6))
    after = {id(tensor) for snapshot in box.recording().snapshots for tensor in snapshot.state.model.values()}
    assert before == after


def test_no_snapshot_is_larger_than_allowed() -> None:
    model = make_model()
    optimizer = steadystep.AdamW(model.parameters(), lr=1e-3)
    box = steadystep.blackbox(model, optimizer, None, every=1, max_bytes=1000)
    train(model, optimizer, box, make_batches(4))
    recording = box.recording()
    assert recording.snapshots == ()
    assert recording.about["snapshot_too_large"] > 1000


def test_a_refused_step_freezes_the_box_and_what_follows_is_recorded() -> None:
    model, batches = make_model(), make_batches(50)
    optimizer = steadystep.AdamW(model.named_parameters(), lr=1e-3, clip=1.0)
    box = steadystep.blackbox(model, optimizer, None, batches=5, every=3)

    def spoil() -> None:
        if box.recording().steps[-1] == 29:
            model.get_parameter("4.weight").register_hook(lambda gradient: gradient * float("nan"))

    train(model, optimizer, box, batches, each=spoil)
    recording = box.recording()
    assert recording.trigger is not None
    assert (recording.trigger.kind, recording.trigger.step) == (REFUSED, 30)
    assert "4.weight" in recording.trigger.detail
    assert recording.applied[30] == 0.0
    assert list(recording.batches) == list(range(25, 36))
    assert recording.steps[-1] == 35
    assert all(snapshot.step <= 30 for snapshot in recording.snapshots)


def test_a_step_that_raises_is_recorded_before_the_error_leaves() -> None:
    model = make_model()
    optimizer = steadystep.AdamW(model.named_parameters(), lr=1e-3, nonfinite="raise")
    box = steadystep.blackbox(model, optimizer, None)
    batches = make_batches(10)
    train(model, optimizer, box, batches)
    batches[0][0][3, 2] = float("nan")
    with pytest.raises(steadystep.NonFiniteGradientError):
        train(model, optimizer, box, batches[:1])
    recording = box.recording()
    assert box.trigger is not None
    assert box.trigger.step == 10
    assert np.isinf(recording.gradient[10]).any()


def test_a_gradient_that_is_not_finite_is_found_where_nothing_guards() -> None:
    model, batches = make_model(), make_batches(20)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    box = steadystep.blackbox(model, optimizer, None)
    train(model, optimizer, box, batches[:10])
    model.get_parameter("0.weight").register_hook(lambda gradient: gradient / 0.0)
    train(model, optimizer, box, batches[10:])
    assert box.trigger is not None
    assert (box.trigger.kind, box.trigger.step) == (GRADIENT, 10)
    assert "0.weight" in box.trigger.detail


def test_the_search_for_a_scale_triggers_nothing() -> None:
    for make in (TORCH["AdamW"], lambda p: steadystep.AdamW(p, lr=1e-3, clip=1.0), TORCH["guarded AdamW"]):
        model = make_model()
        optimizer = make(model.parameters())
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=5, growth_factor=2.0**60)
        box = steadystep.blackbox(model, optimizer, None, scaler=scaler)
        train_scaled(model, optimizer, scaler, box, make_batches(40))
        assert box.trigger is None
        gradient = box.recording().gradient
        norms = gradient[np.isfinite(gradient).all(axis=1)]
        assert len(norms)
        assert norms.max() < 100  # the scale is divided out


def test_a_loss_that_is_not_finite_freezes_the_box_in_the_step_it_belongs_to() -> None:
    for after in (True, False):
        model, batches = make_model(), make_batches(30)
        batches[20][0][0, 0] = float("inf")
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        box = steadystep.blackbox(model, optimizer, None)
        train(model, optimizer, box, batches, after=after)
        assert box.trigger is not None
        assert (box.trigger.kind if not after else LOSS, box.trigger.step) == (LOSS, 20)


def test_a_closed_box_leaves_the_optimizer_as_it_was() -> None:
    for make in (TORCH["AdamW"], lambda p: steadystep.AdamW(p, lr=1e-3), TORCH["guarded AdamW"]):
        model = make_model()
        optimizer = make(model.parameters())
        hooks = dict(vars(optimizer))
        box = steadystep.blackbox(model, optimizer, None)
        train(model, optimizer, box, make_batches(3))
        box.close()
        train(model, optimizer, box, make_batches(3))
        assert len(box.recording().steps) == 3
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks
        assert vars(optimizer).get("_after_step") is hooks.get("_after_step")


def test_a_group_that_is_added_begins_new_records() -> None:
    for make in (TORCH["AdamW"], lambda p: steadystep.AdamW(p, lr=1e-3), TORCH["guarded AdamW"]):
        model = make_model()
        optimizer = make(list(model[0].parameters()))
        box = steadystep.blackbox(model, optimizer, None)
        train(model, optimizer, box, make_batches(3))
        optimizer.add_param_group({"params": list(model[4].parameters()), "lr": 0.5})
        train(model, optimizer, box, make_batches(4))
        recording = box.recording()
        np.testing.assert_array_equal(recording.steps, [3, 4, 5, 6])
        assert recording.gradient.shape == (4, 4)
        assert recording.lr.shape == (4, 2)
        assert np.isfinite(recording.gradient).all()


def test_a_parameter_without_a_gradient_is_not_measured() -> None:
    for make in (TORCH["AdamW"], lambda p: steadystep.AdamW(p, lr=1e-3), TORCH["guarded AdamW"]):
        model = make_model()
        model[0].bias.requires_grad_(False)
        optimizer = make(model.parameters())
        box = steadystep.blackbox(model, optimizer, None)
        train(model, optimizer, box, make_batches(5))
        recording = box.recording()
        unmeasured = np.atleast_1d(np.isnan(recording.gradient).all(axis=0))
        assert [name for name, missing in zip(recording.names, unmeasured.tolist(), strict=True) if missing] == [
            "0.bias"
        ]
        assert box.trigger is None


def test_an_optimizer_with_a_closure_is_recorded() -> None:
    model, (x, y) = make_model().eval(), make_batches(1)[0]
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1)
    box = steadystep.blackbox(model, optimizer, None)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(4):
        box.batch((x, y))
        box.loss(optimizer.step(closure))
    recording = box.recording()
    assert np.isfinite(recording.gradient).all()
    assert (recording.update > 0).any()
    assert np.isfinite(recording.loss).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64])
def test_every_dtype_is_recorded(dtype: torch.dtype) -> None:
    for make in (TORCH["AdamW"], lambda p: steadystep.AdamW(p, lr=1e-3), TORCH["guarded AdamW"]):
        weight = nn.Parameter(torch.ones(5000, dtype=dtype))
        model = nn.ParameterList([weight])
        optimizer = make([weight])
        box = steadystep.blackbox(model, optimizer, None)
        before = weight.detach().clone()
        for _ in range(4):
            weight.grad = torch.full_like(weight, 0.5)
            before = weight.detach().clone()
            optimizer.step()
        moved = torch.linalg.vector_norm((weight.detach() - before).abs().float()).item()
        recording = box.recording()
        np.testing.assert_allclose(recording.gradient[:, 0], 0.5 * 5000**0.5, rtol=1e-3)
        np.testing.assert_allclose(recording.update[-1, 0], moved, rtol=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batches": 0}, "batches is 0"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"every": True}, "every is True"),
        ({"max_bytes": -1}, "max_bytes is -1"),
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, Any], message: str) -> None:
    model = make_model()
    with pytest.raises(ValueError, match=message):
        steadystep.blackbox(model, torch.optim.SGD(model.parameters()), None, **wrong)


def test_a_wrong_model_or_optimizer_is_named() -> None:
    model = make_model()
    optimizer: Any = torch.optim.SGD(model.parameters())
    swapped: Any = optimizer
    with pytest.raises(TypeError, match="takes the model first, and got an SGD"):
        steadystep.blackbox(swapped, swapped, None)
    with pytest.raises(TypeError, match="takes the optimizer second"):
        wrong: Any = model
        steadystep.blackbox(model, wrong, None)


OF_TORCH = [TORCH["AdamW"], lambda p: steadystep.AdamW(p, lr=1e-3), TORCH["guarded AdamW"]]


def test_a_step_that_a_scaler_leaves_out_is_a_step_of_the_record() -> None:
    for with_scaler in (True, False):
        model, batches = make_model(), make_batches(30)
        batches[12][0][0, 0] = float("inf")
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
        box = steadystep.blackbox(model, optimizer, None, scaler=scaler if with_scaler else None)
        train_scaled(model, optimizer, scaler, box, batches)
        recording = box.recording()
        assert box.trigger is not None and (box.trigger.kind, box.trigger.step) == (LOSS, 12)
        assert recording.batches[12] is batches[12] and recording.batches[13] is batches[13]
        assert recording.applied.tolist() == [1.0] * 12 + [0.0] + [1.0] * (len(recording.steps) - 13)
        assert np.isinf(recording.loss[12]) and np.isfinite(np.delete(recording.loss, 12)[:-1]).all()


@pytest.mark.parametrize("without", ["backward", "step"])
def test_a_step_that_the_program_leaves_out_is_a_step_of_the_record(without: str) -> None:
    model, batches = make_model(), make_batches(10)
    batches[4][0][0, 0] = float("nan")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    box = steadystep.blackbox(model, optimizer, None)
    for x, y in box.watch(batches):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        box.loss(loss)
        if without == "step" or bool(loss.isfinite()):
            loss.backward()
        if bool(loss.isfinite()):
            optimizer.step()
    recording = box.recording()
    assert recording.applied.tolist() == [1.0] * 4 + [0.0] + [1.0] * 5
    assert all(recording.batches[step] is batches[step] for step in recording.batches) and 4 in recording.batches


def test_the_batch_with_trouble_of_several_for_a_step_is_kept() -> None:
    model, batches = make_model(), make_batches(24)
    batches[10][0][0, 0] = float("nan")  # the first of the two of step 5
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    box = steadystep.blackbox(model, optimizer, None)
    for number, (x, y) in enumerate(box.watch(batches)):
        loss = nn.functional.cross_entropy(model(x), y)
        box.loss(loss)
        loss.backward()
        if number % 2:
            optimizer.step()
            optimizer.zero_grad()
    recording = box.recording()
    assert box.trigger is not None and box.trigger.step == 5 and recording.about["batches_per_step"] == 2
    assert recording.batches[5] is batches[10] and recording.batches[4] is batches[9]
    assert list(recording.steps) == list(range(12))


def test_a_batch_that_is_given_twice_is_one_batch() -> None:
    model, batches = make_model(), make_batches(6)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    box = steadystep.blackbox(model, optimizer, None)
    for batch in box.watch(batches):
        box.batch(batch)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()
    assert list(box.recording().steps) == list(range(6))


def test_a_group_that_is_added_is_no_trouble() -> None:
    for make in OF_TORCH:
        model = make_model()
        optimizer = make(list(model[0].parameters()))
        box = steadystep.blackbox(model, optimizer, None)
        train(model, optimizer, box, make_batches(3))
        optimizer.add_param_group({"params": list(model[4].parameters())})
        train(model, optimizer, box, make_batches(4))
        recording = box.recording()
        assert box.trigger is None and recording.applied.tolist() == [1.0] * 4
        assert np.isfinite(recording.update[1:]).all()


def test_two_boxes_follow_one_optimizer() -> None:
    for make in OF_TORCH:
        model = make_model()
        optimizer = make(model.parameters())
        first, second = (steadystep.blackbox(model, optimizer, None) for _ in range(2))
        train(model, optimizer, first, make_batches(3))
        second.close()
        third = steadystep.blackbox(model, optimizer, None)
        train(model, optimizer, first, make_batches(2))
        assert [len(box.recording().steps) for box in (first, second, third)] == [5, 3, 2]
        first.close()
        third.close()
        assert getattr(optimizer, "_after_step", None) is None
        assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks


def test_a_box_that_is_closed_after_trouble_has_what_came_after_it(tmp_path: Path) -> None:
    model, batches = make_model(), make_batches(9)
    batches[6][0][0, 0] = float("nan")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    box = steadystep.blackbox(model, optimizer, tmp_path)
    train(model, optimizer, box, batches)
    box.close()
    assert load(tmp_path).steps.tolist() == list(range(9))


@pytest.mark.parametrize("loss", [None, "0.5", [0.5]])
def test_a_loss_that_is_none_is_named(loss: object) -> None:
    model = make_model()
    box = steadystep.blackbox(model, torch.optim.SGD(model.parameters(), lr=0.1), None)
    with pytest.raises(TypeError, match=r"box\.loss takes the loss of a step, a number or a tensor, and got"):
        box.loss(loss)  # type: ignore[arg-type]


def test_a_box_rests_while_its_run_is_replayed(tmp_path: Path) -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    box = steadystep.blackbox(model, optimizer, tmp_path)
    train(model, optimizer, box, make_batches(4))
    with pause():
        inner = steadystep.blackbox(model, optimizer, None)
        for x, y in make_batches(3):
            for each in (box, inner):
                each.batch((x, y))
                each.loss(float("nan"))
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        box.save()
        inner.close()
    assert list(box.recording().batches) == list(range(4)), "no batch of a replay is kept"
    assert box.trigger is None and len(box.recording().steps) == 4 and not list(tmp_path.iterdir())
    assert inner.trigger is not None and len(inner.recording().steps) == 3
    train(model, optimizer, box, make_batches(1))
    assert len(box.recording().steps) == 5
