"""What surrounds an optimizer: hooks, names, schedulers, averaged and compiled models."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.optim.swa_utils import SWALR, AveragedModel

import steadystep
from cases import OptimizerCase
from torch_contract import STEPS, Parameters, close, every_case, fresh, same, save_and_load, train


def test_step_hooks() -> None:
    params = fresh()
    optimizer = steadystep.SGD(params, lr=0.0)
    calls: list[str] = []
    handles = [
        optimizer.register_step_pre_hook(
            lambda optimizer, *_: ((optimizer, lambda: calls.append("closure") or 5.0), {})
        ),
        optimizer.register_step_post_hook(lambda *_: calls.append("after")),
        register_optimizer_step_post_hook(lambda *_: calls.append("after any")),
    ]
    try:
        assert optimizer.step() == 5.0  # a hook may replace the arguments
        assert calls == ["closure", "after", "after any"]
    finally:
        for handle in handles:
            handle.remove()
    assert optimizer.step() is None and len(calls) == 3


def test_names() -> None:
    params = fresh()
    named = steadystep.Adam([{"params": [("a", params[0])]}, {"params": [("b", params[1]), ("c", params[2])]}])
    train(named, params)
    assert set(named.ledger["norms"]) == {"a", "b", "c"}
    others = fresh()
    unnamed = steadystep.Adam([{"params": others[:1]}, {"params": others[1:]}])
    train(unnamed, others, range(1))
    labels = ["group 0, tensor 0, shape (4, 3)", "group 1, tensor 0, shape (3,)", "group 1, tensor 1, shape ()"]
    assert list(unnamed.ledger["norms"]) == labels
    unnamed.load_state_dict(named.state_dict())
    train(unnamed, others, range(1))
    assert list(unnamed.ledger["norms"]) == ["a", "b", "c"]
    others[1].grad = torch.full((3,), math.nan).double()
    unnamed.policy = type(unnamed.policy)("raise", 25)
    with pytest.raises(steadystep.NonFiniteGradientError, match="in b;"):
        unnamed.step()


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda o: schedulers.LambdaLR(o, lambda t: 1 / (1 + t)),
    "warm-up from 0": lambda o: schedulers.LambdaLR(o, lambda t: t / 4),
    "MultiplicativeLR": lambda o: schedulers.MultiplicativeLR(o, lambda t: 0.9),
    "StepLR": lambda o: schedulers.StepLR(o, 3, 0.1),
    "MultiStepLR": lambda o: schedulers.MultiStepLR(o, [2, 5], 0.5),
    "ConstantLR": lambda o: schedulers.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: schedulers.LinearLR(o, 0.1, total_iters=4),
    "ExponentialLR": lambda o: schedulers.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda o: schedulers.PolynomialLR(o, 6, 2.0),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 3, 2),
    "CyclicLR": lambda o: schedulers.CyclicLR(o, 1e-3, 0.1, 2, cycle_momentum=False),
    "OneCycleLR": lambda o: schedulers.OneCycleLR(o, 0.1, 12, cycle_momentum=False),
    "ReduceLROnPlateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=1),
    "SequentialLR": lambda o: schedulers.SequentialLR(
        o, [schedulers.ConstantLR(o, 0.1, 3), schedulers.ExponentialLR(o, 0.9)], [3]
    ),
    "ChainedScheduler": lambda o: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(o, 0.1, 3), schedulers.ExponentialLR(o, 0.9)], o
    ),
    "SWALR": lambda o: SWALR(o, 0.05, 3),
}


def advance(scheduler: Any) -> None:
    scheduler.step(*([1.0] if isinstance(scheduler, schedulers.ReduceLROnPlateau) else []))


@every_case
def test_schedulers_set_the_learning_rate(case: OptimizerCase) -> None:
    """The learning rate equals that of torch's optimizer; test_references tests that the steps use it."""
    for name, make in SCHEDULERS.items():
        params = fresh(shapes=[(3,)])
        optimizer, peer = case.make(params), torch.optim.SGD([torch.ones(2, requires_grad=True)], lr=case.options["lr"])
        following, leading = make(optimizer), make(peer)
        peer.step()
        for step in range(STEPS):
            assert optimizer.param_groups[0]["lr"] == peer.param_groups[0]["lr"], name
            assert optimizer.param_groups[0]["base_lr"] == case.options["lr"], name
            train(optimizer, params, range(step, step + 1))
            advance(following)
            advance(leading)
        assert params[0].isfinite().all() and not same(params, fresh(shapes=[(3,)])), name


@every_case
def test_one_cycle_sets_the_momentum(case: OptimizerCase) -> None:
    params = fresh()
    optimizer = case.make(params)
    if not {"momentum", "betas"} & optimizer.defaults.keys():
        with pytest.raises(ValueError, match="must support momentum"):
            schedulers.OneCycleLR(optimizer, 0.02, STEPS + 1)
        return
    cycle = schedulers.OneCycleLR(optimizer, 0.02, STEPS + 1)
    seen = []
    for step in range(STEPS):
        group = optimizer.param_groups[0]
        seen.append(group["betas"][0] if "betas" in group else group["momentum"])
        train(optimizer, params, range(step, step + 1))
        cycle.step()
    assert max(seen) == pytest.approx(0.95) and min(seen) < 0.87
    assert all(param.isfinite().all() for param in params)


@every_case
def test_warm_restarts_resume_within_a_cycle(case: OptimizerCase) -> None:
    def run(interrupted: bool) -> Parameters:
        params = fresh()
        optimizer = case.make(params)
        restarts = schedulers.CosineAnnealingWarmRestarts(optimizer, 4, 2, eta_min=1e-4)
        for step in range(14):
            if interrupted and step == 6:  # 2 steps into the second cycle, which has 8
                saved = save_and_load({"optimizer": optimizer.state_dict(), "scheduler": restarts.state_dict()})
                optimizer = case.make(params, lr=0.3)
                restarts = schedulers.CosineAnnealingWarmRestarts(optimizer, 4, 2, eta_min=1e-4)
                optimizer.load_state_dict(saved["optimizer"])
                restarts.load_state_dict(saved["scheduler"])
            train(optimizer, params, range(step, step + 1))
            restarts.step()
        return params

    assert same(run(True), run(False))


@every_case
def test_averaged_models(case: OptimizerCase) -> None:
    model = torch.nn.Linear(3, 2).double()
    optimizer = case.make(model.parameters())
    averaged, seen = AveragedModel(model), []
    for step in range(3):
        seen.append(torch.stack(train(optimizer, [model.weight], range(step, step + 1))))
        averaged.update_parameters(model)
    torch.testing.assert_close(averaged.module.get_parameter("weight").detach(), torch.cat(seen).mean(0))


@pytest.fixture
def compiler() -> Iterator[None]:
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("compiler")
def test_compiled_models() -> None:
    """The model is traced by torch.compile, without code generation, which would need a compiler and more time."""

    def run(compiled: bool) -> Parameters:
        params = fresh(shapes=((3, 3), (3,)))
        model = torch.nn.Linear(3, 3).double()
        model.load_state_dict(dict(zip(("weight", "bias"), params, strict=True)))
        optimizer = steadystep.AdamW(model.named_parameters(), lr=0.1, clip=0.5)
        forward = torch.compile(model, backend="aot_eager") if compiled else model
        for _ in range(4):
            optimizer.zero_grad()
            forward(torch.ones(2, 3).double()).square().sum().backward()
            optimizer.step()
        return [param.detach() for param in model.parameters()]

    close(run(True), run(False))
