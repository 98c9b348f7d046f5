"""What an optimizer tells of its steps, and schedulers that hold still for refused ones."""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)
from torch.optim.swa_utils import AveragedModel

import steadystep
from cases import OPTIMIZERS, OptimizerCase

NAN = float("nan")

SCHEDULERS = {
    "LambdaLR": lambda optimizer: LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "CosineAnnealingLR": lambda optimizer: CosineAnnealingLR(optimizer, 10),
    "OneCycleLR": lambda optimizer: OneCycleLR(optimizer, max_lr=0.5, total_steps=20),
    "SequentialLR": lambda optimizer: SequentialLR(
        optimizer, [LambdaLR(optimizer, lambda step: 0.1 * step), CosineAnnealingLR(optimizer, 10)], milestones=[2]
    ),
}


def our_optimizer(weight: nn.Parameter) -> Any:
    return steadystep.SGD([("weight", weight)], lr=0.1, momentum=0.9, clip=10.0)


def guarded(weight: nn.Parameter) -> Any:
    return steadystep.guard(torch.optim.SGD([("weight", weight)], lr=0.1, momentum=0.9), clip=10.0)


kinds = pytest.mark.parametrize("make", [our_optimizer, guarded])


def weight_of(*numbers: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(numbers or (1.0, 2.0)))


def take(optimizer: Any, *gradient: float) -> None:
    (group,) = optimizer.param_groups
    group["params"][0].grad = torch.tensor(gradient)
    optimizer.step()


@kinds
def test_the_last_step_is_known(make: Any) -> None:
    optimizer = make(weight_of())
    assert optimizer.last_step_applied is False
    for gradient, applied in ((1.0, True), (NAN, False), (NAN, False), (2.0, True), (math.inf, False)):
        take(optimizer, gradient, 0.0)
        assert optimizer.last_step_applied is applied
        assert make(weight_of()).last_step_applied is False
    again = make(weight_of())
    again.load_state_dict(optimizer.state_dict())
    assert again.last_step_applied is False


@pytest.mark.parametrize("case", OPTIMIZERS, ids=repr)
def test_every_optimizer_tells_of_its_steps(case: OptimizerCase) -> None:
    model = nn.Linear(3, 2)
    optimizer = getattr(steadystep, case.name)(model.parameters(), **case.options)
    optimizer.name_parameters(model)
    for gradient in (1.0, NAN):
        for param in model.parameters():
            param.grad = torch.full_like(param, gradient)
        optimizer.step()
        assert optimizer.last_step_applied is (gradient == 1.0)
    metrics = optimizer.metrics()
    assert {name: metrics[f"steadystep/{name}"] for name in ("attempted", "applied", "skipped_nonfinite")} == {
        "attempted": 2.0,
        "applied": 1.0,
        "skipped_nonfinite": 1.0,
    }


@kinds
def test_metrics_are_floats_by_flat_names(make: Any) -> None:
    optimizer = make(weight_of())
    before = optimizer.metrics()
    assert not any("norm" in name for name in before) and set(before.values()) == {0.0}
    take(optimizer, 30.0, 40.0)
    metrics = optimizer.metrics("a.")
    assert all(type(value) is float and name.startswith("a.") for name, value in metrics.items())
    assert metrics["a.norm_before"] == metrics["a.norm/weight"] == 50.0
    assert metrics["a.norm_after"] == pytest.approx(10.0) and metrics["a.clip_rate"] == 1.0
    assert not any("norm/" in name for name in optimizer.metrics(per_tensor=False))
    take(optimizer, NAN, 0.0)
    assert math.isnan(optimizer.metrics()["steadystep/norm_before"])
    assert optimizer.metrics()["steadystep/consecutive_skips"] == 1.0


@pytest.mark.parametrize("wrapper", [lambda model: model, nn.DataParallel, torch.compile])
@pytest.mark.parametrize("of", [steadystep.Adam, lambda params: steadystep.guard(torch.optim.Adam(params))])
def test_parameters_are_named_afterwards(wrapper: Any, of: Any) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimizer = of([{"params": list(model[0].parameters())}, {"params": list(model[1].parameters())}])
    for gradient in (1.0, NAN):
        for param in model.parameters():
            param.grad = torch.full_like(param, gradient if param is model[1].bias else 1.0)
        optimizer.step()
        optimizer.name_parameters(wrapper(model))  # between steps too
    assert [group["param_names"] for group in optimizer.param_groups] == [
        ["0.weight", "0.bias"],
        ["1.weight", "1.bias"],
    ]
    assert optimizer.ledger["faults"] == {"1.bias": 1}
    optimizer.step()
    assert set(optimizer.ledger["norms"]) == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_a_model_without_the_parameters_is_refused() -> None:
    optimizer = steadystep.Adam(nn.Linear(2, 1).parameters())
    with pytest.raises(ValueError, match=r"^group 0, tensor 0, shape \(1, 2\) is not a parameter of this Linear: give"):
        optimizer.name_parameters(nn.Linear(2, 1))
    with pytest.raises(TypeError, match=r"^name_parameters takes the model, and got a generator$"):
        optimizer.name_parameters(nn.Linear(2, 1).parameters())  # type: ignore[arg-type]
    assert "param_names" not in optimizer.param_groups[0]


@kinds
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_refused_step_leaves_no_trace(make: Any, name: str) -> None:
    """Parameters, state, learning rate and scheduler are bitwise as if the refused steps had not been."""
    runs = []
    for gradients in ((1.0, 2.0, 3.0, 4.0), (NAN, 1.0, 2.0, NAN, NAN, 3.0, math.inf, 4.0)):
        weight = weight_of()
        optimizer = make(weight)
        scheduler = steadystep.skip_aware(SCHEDULERS[name](optimizer))
        assert isinstance(scheduler, LRScheduler)
        for gradient in gradients:
            take(optimizer, gradient, 1.0)
            scheduler.step()
        state = {key: value for key, value in scheduler.state_dict().items() if key != "steadystep_seen"}
        state.pop("_schedulers", None)  # of SequentialLR: objects' states, with functions
        runs.append((weight.tolist(), scheduler.get_last_lr(), optimizer.param_groups[0]["lr"], repr(state)))
    assert runs[0] == runs[1]


@kinds
def test_a_scheduler_stepped_once_an_epoch_needs_one_applied_step(make: Any) -> None:
    optimizer = make(weight_of())
    scheduler = steadystep.skip_aware(LambdaLR(optimizer, lambda step: 1 / (1 + step)))
    for epoch, moves in (((1.0, NAN), 1), ((NAN, NAN), 0), ((NAN, 1.0), 1), ((), 1), ((NAN,), 0)):
        before = scheduler.last_epoch
        for gradient in epoch:
            take(optimizer, gradient, 1.0)
        scheduler.step()
        assert scheduler.last_epoch - before == moves
        scheduler.step()  # once for each process, as accelerate does
        assert scheduler.last_epoch - before == 2 * moves


@kinds
@pytest.mark.parametrize("load_first", ["optimizer", "scheduler"])
@pytest.mark.parametrize("copied", [False, True])
def test_a_run_resumes_exactly(make: Any, load_first: str, copied: bool) -> None:
    def run(start: int, end: int, saved: Any = None) -> tuple[Any, ...]:
        weight = weight_of()
        optimizer = make(weight)
        scheduler = steadystep.skip_aware(CosineAnnealingLR(optimizer, 10))
        if saved is not None:
            weight.data.copy_(saved[0])
            for part in ("optimizer", "scheduler") if load_first == "optimizer" else ("scheduler", "optimizer"):
                {"optimizer": optimizer, "scheduler": scheduler}[part].load_state_dict(saved[1][part])
        for gradient in (1.0, NAN, 2.0, NAN, NAN, 3.0, 4.0)[start:end]:
            take(optimizer, gradient, 1.0)
            scheduler.step()
        states = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
        return weight.detach().clone(), copy.deepcopy(states) if not copied else pickle.loads(pickle.dumps(states))

    whole = run(0, 7)
    for middle in range(1, 7):
        resumed = run(middle, 7, run(0, middle))
        assert torch.equal(resumed[0], whole[0])
        assert resumed[1]["scheduler"] == whole[1]["scheduler"]


def test_plain_checkpoints_load_and_go_back_to_plain_schedulers() -> None:
    optimizer = our_optimizer(weight_of())
    plain = CosineAnnealingLR(optimizer, 10)
    for _ in range(3):
        take(optimizer, 1.0, 1.0)
        plain.step()
    held = steadystep.skip_aware(CosineAnnealingLR(optimizer, 10))
    held.load_state_dict(plain.state_dict())
    take(optimizer, NAN, 1.0)
    held.step()
    assert held.last_epoch == 3
    plain.load_state_dict(held.state_dict())
    assert plain.last_epoch == 3


def test_a_scheduler_keeps_its_attributes() -> None:
    optimizer = our_optimizer(weight_of())
    inner = CosineAnnealingLR(optimizer, 10)
    held = steadystep.skip_aware(inner)
    assert steadystep.skip_aware(held) is held
    held.T_max = 5
    assert inner.T_max == 5 and held.optimizer is optimizer
    for again in (copy.deepcopy(held), pickle.loads(pickle.dumps(held))):
        assert isinstance(again, CosineAnnealingLR) and repr(again).startswith("skip_aware(<torch.optim")
        take(again.optimizer, NAN, 1.0)
        again.step()
        assert again.last_epoch == 0
        take(again.optimizer, 1.0, 1.0)
        again.step()
        assert again.last_epoch == 1
    assert held.last_epoch == 0


def test_a_plateau_is_not_counted_for_refused_steps() -> None:
    optimizer = our_optimizer(weight_of())
    scheduler = steadystep.skip_aware(ReduceLROnPlateau(optimizer, patience=0, factor=0.5))
    for gradient, rate in ((1.0, 0.1), (NAN, 0.1), (NAN, 0.1), (1.0, 0.05)):
        take(optimizer, gradient, 1.0)
        scheduler.step(7.0)
        assert optimizer.param_groups[0]["lr"] == rate


@kinds
def test_weight_averages_and_hooks_hold_still(make: Any) -> None:
    model = nn.Linear(1, 1, bias=False)
    optimizer = make(model.weight)
    averaged, seen = AveragedModel(model), []
    update = steadystep.skip_aware(averaged.update_parameters, optimizer)
    optimizer.register_step_post_hook(steadystep.skip_aware(lambda *_: seen.append(1), optimizer))
    for gradient in (1.0, NAN, 2.0):
        model.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        update(model)
    assert int(averaged.n_averaged) == 2 and len(seen) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda o: (3,), "^skip_aware takes a scheduler or a function, and got an int$"),
        (lambda o: (o,), "^skip_aware takes a scheduler or a function, and got an? SGD$"),
        (lambda o: (AveragedModel(nn.Linear(1, 1)), o), "give it averaged.update_parameters$"),
        (lambda o: (print,), r"^skip_aware needs the optimizer whose steps count: skip_aware\(function, optimizer\)$"),
        (
            lambda o: (print, torch.optim.SGD([weight_of()])),
            r"an optimizer that can refuse a step, and got an SGD:",
        ),
        (lambda o: (LambdaLR(torch.optim.SGD([weight_of()]), lambda _: 1.0),), "guard.optimizer. before its scheduler"),
    ],
)
def test_what_cannot_hold_still_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        steadystep.skip_aware(*arguments(our_optimizer(weight_of())))


def test_a_wrapped_optimizer_is_found() -> None:
    class Wrapper:
        def __init__(self, optimizer: Any) -> None:
            self.optimizer = optimizer

    optimizer, seen = our_optimizer(weight_of()), []
    call = steadystep.skip_aware(seen.append, Wrapper(Wrapper(optimizer)))  # type: ignore[arg-type]
    take(optimizer, NAN, 1.0)
    call(1)
    take(optimizer, 1.0, 1.0)
    call(2)
    assert seen == [2]
