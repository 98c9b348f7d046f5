"""What `guard` promises an optimizer from elsewhere: its arguments, its gradients, no trace of a step that fails."""

import copy
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch

import steadystep
from cases import CLIPPERS, ClipperCase

GRADIENT_CLIPPERS = [case for case in CLIPPERS if not isinstance(case.make(), steadystep.ClipUpdate)]


def parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in ((5, 3), (3,))]


def set_gradients(params: list[torch.Tensor], seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(param.shape, generator=generator) for param in params]
    for param, gradient in zip(params, gradients, strict=True):
        param.grad = gradient.clone()
    return gradients


def assert_gradients(params: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for param, gradient in zip(params, expected, strict=True):
        assert param.grad is not None and torch.equal(param.grad, gradient)


class Recorder(torch.optim.SGD):
    """Keeps the arguments of its steps, and fails when it is told to."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)
        self.calls: list[Any] = []
        self.fails = False

    def step(self, closure: Any = None, scale: float = 1.0, *, tag: str = "") -> Any:  # type: ignore[override]
        self.calls.append((closure, scale, tag))
        super().step()
        if self.fails:
            for group in self.param_groups:
                for param in group["params"]:
                    param.grad = None
            raise KeyError("inside the step")
        return "stepped"


class LateClosure(Recorder):
    """Takes its closure as the second argument."""

    def step(self, scale: float = 1.0, closure: Any = None) -> Any:  # type: ignore[override]
        return super().step(closure, scale)


class AnyArguments(Recorder):
    """Names no argument."""

    def step(self, *arguments: Any, **options: Any) -> Any:  # type: ignore[override]
        return super().step(*arguments, **options)


CALLS: dict[str, tuple[type[Recorder], tuple[Any, ...], dict[str, Any], Any]] = {
    "none": (Recorder, (), {}, (None, 1.0, "")),
    "positional": (Recorder, (None, 3.0), {}, (None, 3.0, "")),
    "closure and positional": (Recorder, (lambda: "loss", 3.0), {}, (None, 3.0, "")),
    "keywords": (Recorder, (), {"scale": 3.0, "tag": "x"}, (None, 3.0, "x")),
    "closure as keyword": (Recorder, (), {"closure": lambda: "loss", "tag": "x"}, (None, 1.0, "x")),
    "late closure": (LateClosure, (3.0, lambda: "loss"), {}, (None, 3.0, "")),
    "late closure as keyword": (LateClosure, (3.0,), {"closure": lambda: "loss"}, (None, 3.0, "")),
    "any": (AnyArguments, (None, 3.0), {"tag": "x"}, (None, 3.0, "x")),
    "any with closure": (AnyArguments, (lambda: "loss",), {"tag": "x"}, (None, 1.0, "x")),
    "any with closure and more": (AnyArguments, (lambda: "loss", 3.0), {}, (None, 3.0, "")),
    "any with closure as keyword": (AnyArguments, (), {"closure": lambda: "loss"}, (None, 1.0, "")),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_arguments_of_a_step_are_handed_on_and_the_closure_is_evaluated_once(call: str) -> None:
    kind, arguments, options, expected = CALLS[call]
    params = parameters()
    optimizer: Any = steadystep.guard(kind(params), clip=1.0)
    for step in range(3):  # the first one creates state
        set_gradients(params, step)
        result = optimizer.step(*arguments, **options)
        has_closure = any(map(callable, (*arguments, *options.values())))
        assert result == ("loss" if has_closure else "stepped")
        assert optimizer.calls[-1] == expected
    assert len(optimizer.calls) == 3


def test_an_argument_that_the_step_does_not_have_is_refused_before_the_closure() -> None:
    params, calls = parameters(), []
    optimizer: Any = steadystep.guard(Recorder(params), clip=1.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'rate'"):
        optimizer.step(lambda: calls.append("closure"), rate=1.0)
    assert calls == []


class SparseOnly(torch.optim.SGD):
    """Made after torch's SparseAdam."""

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None and not param.grad.is_sparse:
                    raise RuntimeError("SparseOnly does not support dense gradients")


class OwnSparseAdam(torch.optim.SparseAdam):
    """A subclass with a step of its own."""

    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


@pytest.mark.parametrize("kind", [torch.optim.SparseAdam, SparseOnly, OwnSparseAdam])
def test_an_optimizer_for_sparse_gradients_only_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match=f"{kind.__name__} takes sparse gradients only") as error:
        steadystep.guard(kind(parameters(), lr=0.1))
    assert str(error.value).count(". ") == 0, "one sentence"


class NamedClosure(torch.optim.SGD):
    """Needs a closure, by another name."""

    def step(self, loss_closure: Any) -> Any:  # type: ignore[override]
        return loss_closure()


def test_an_optimizer_that_needs_a_closure_by_any_name_is_refused() -> None:
    with pytest.raises(TypeError, match="NamedClosure needs a closure"):
        steadystep.guard(NamedClosure(parameters(), lr=0.1))


@pytest.mark.parametrize("undo", [False, True])
@pytest.mark.parametrize("preserve_grad", [False, True])
@pytest.mark.parametrize("case", GRADIENT_CLIPPERS, ids=str)
def test_a_step_that_fails_leaves_the_gradients_and_the_ledger_as_they_were(
    case: ClipperCase, preserve_grad: bool, undo: bool
) -> None:
    params = parameters()
    optimizer: Any = steadystep.guard(Recorder(params), clip=case.make(), preserve_grad=preserve_grad, undo=undo)
    for step in range(10):
        set_gradients(params, step)
        optimizer.step()
    ledger, memory = optimizer.ledger, copy.deepcopy(optimizer.state_dict()["param_groups"])
    gradients = set_gradients(params, 10)
    objects = [param.grad for param in params]
    before = [param.detach().clone() for param in params]
    optimizer.fails = True
    with pytest.raises(KeyError, match="inside the step"):
        optimizer.step()
    assert_gradients(params, gradients)
    assert all(param.grad is gradient for param, gradient in zip(params, objects, strict=True))
    assert str(optimizer.ledger) == str(ledger)
    assert str(optimizer.state_dict()["param_groups"]) == str(memory)
    if undo:
        assert all(torch.equal(param, old) for param, old in zip(params, before, strict=True))
    optimizer.fails = False
    optimizer.step()
    assert optimizer.ledger["attempted"] == 11


class InPlace(Recorder):
    """Adds its weight decay to the gradients."""

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        for param in self.param_groups[0]["params"]:
            param.grad.add_(param.detach())
        return super().step(closure)


@pytest.mark.parametrize("options", [{"preserve_grad": True}, {"undo": True}], ids=str)
@pytest.mark.parametrize("fails", [False, True])
def test_gradients_are_preserved_if_the_optimizer_changes_them_itself(fails: bool, options: dict[str, Any]) -> None:
    params = parameters()
    optimizer: Any = steadystep.guard(InPlace(params), **options)
    gradients = set_gradients(params, 0)
    optimizer.fails = fails
    with pytest.raises(KeyError) if fails else nullcontext():
        optimizer.step()
    if fails or "preserve_grad" in options:
        assert_gradients(params, gradients)


MAKERS: dict[str, Callable[[list[torch.Tensor]], Any]] = {
    "guard": lambda params: steadystep.guard(Recorder(params), clip=1.0, nonfinite="raise"),
    "SGD": lambda params: steadystep.SGD(params, lr=0.1, clip=1.0, nonfinite="raise"),
}


@pytest.mark.parametrize("make", MAKERS)
def test_the_step_after_a_failure_under_a_grad_scaler_divides_by_the_scale_once(make: str) -> None:
    params = parameters()
    optimizer: Any = MAKERS[make](params)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(torch.zeros(()))  # makes the scale

    def fail(*arguments: Any) -> None:
        raise KeyError("before the step")

    for step in range(2):
        gradients = set_gradients(params, step)
        for param in params:
            assert param.grad is not None
            param.grad.mul_(1024.0)
        hook = optimizer.register_step_pre_hook(fail)
        with pytest.raises(KeyError):
            scaler.step(optimizer)
        hook.remove()
        assert not {"grad_scale", "found_inf"} & set(vars(optimizer))
        scaler.step(optimizer)
        scaler.update()
        norm = sum(float(gradient.square().sum()) for gradient in gradients) ** 0.5
        assert optimizer.ledger["norm_before"] == pytest.approx(norm)


def test_what_the_user_has_set_for_a_step_without_grad_scaler_is_still_there_after_a_failure() -> None:
    params = parameters()
    optimizer: Any = steadystep.guard(Recorder(params), clip=1.0)
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(2.0), torch.tensor(0.0)
    optimizer.fails = True
    set_gradients(params, 0)
    with pytest.raises(KeyError):
        optimizer.step()
    assert float(optimizer.grad_scale) == 2.0 and float(optimizer.found_inf) == 0.0


def test_a_step_without_groups_does_nothing_and_the_ledger_is_kept() -> None:
    params = parameters()
    optimizer: Any = steadystep.guard(torch.optim.SGD(params, lr=0.1), clip=steadystep.AutoClip(window=8))
    for step in range(4):
        set_gradients(params, step)
        optimizer.step()
    ledger = optimizer.ledger
    groups = list(optimizer.param_groups)
    optimizer.param_groups.clear()
    optimizer.step()
    assert optimizer.ledger == ledger and "GuardedSGD" in repr(optimizer)
    optimizer.add_param_group({"params": groups[0]["params"], "lr": 0.1})
    optimizer.step()
    assert optimizer.ledger["attempted"] == 5


@pytest.mark.parametrize("how", ["entry", "copied entry", "list", "other parameters"])
def test_replaced_groups_are_followed(how: str) -> None:
    params, others = parameters(), parameters()
    optimizer: Any = steadystep.guard(torch.optim.SGD(params, lr=0.1), clip=steadystep.AdaGC(warmup=2))
    for step in range(4):
        set_gradients(params, step)
        optimizer.step()
    group = {key: value for key, value in optimizer.param_groups[0].items() if not key.startswith(("ledger", "clip."))}
    if how == "entry":
        optimizer.param_groups[0] = {**group, "lr": 0.0}
    elif how == "copied entry":
        optimizer.param_groups[0] = {**optimizer.param_groups[0], "lr": 0.0}
    elif how == "list":
        optimizer.param_groups = [{**group, "lr": 0.0}]
    else:
        optimizer.param_groups[0] = {**group, "params": others, "lr": 0.0}
        set_gradients(others, 4)
    before = [param.detach().clone() for param in (*params, *others)]
    optimizer.step()
    assert all(torch.equal(param, old) for param, old in zip((*params, *others), before, strict=True))
    assert optimizer.ledger["attempted"] == 5


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_between_steps_keeps_the_options_of_the_guard(duplicate: Any) -> None:
    params = parameters()
    optimizer: Any = steadystep.guard(
        torch.optim.Adam(params, lr=0.1), clip=1.0, undo=True, report_updates=True, preserve_grad=True
    )
    for step in range(3):
        set_gradients(params, step)
        optimizer.step()
        optimizer, params = duplicate((optimizer, params))
    gradients = set_gradients(params, 3)
    optimizer.step()
    assert_gradients(params, gradients)
    assert optimizer.ledger["applied"] == 4 and len(optimizer.ledger["update_norms"]) == 2
    with torch.no_grad():
        optimizer.param_groups[0]["lr"] = float("inf")
    before = [param.detach().clone() for param in params]
    optimizer.step()
    assert all(torch.equal(param, old) for param, old in zip(params, before, strict=True))


@pytest.mark.parametrize("guarded", [False, True])
def test_hooks_the_profiler_and_schedulers_see_each_step_once(guarded: bool) -> None:
    params = parameters()
    kind: Any = torch.optim.SGD if guarded else steadystep.SGD
    optimizer: Any = kind(params, lr=0.1)
    if guarded:
        steadystep.guard(optimizer, clip=1.0)
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    with torch.profiler.profile() as profile:
        for step in range(3):
            set_gradients(params, step)
            optimizer.step()
            scheduler.step()
    assert calls == ["before", "after"] * 3
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**3)
    seen = [event for event in profile.events() if event.name.startswith("Optimizer.step#")]  # type: ignore[union-attr]
    assert len(seen) == 3
