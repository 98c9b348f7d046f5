"""Training loops under torch.compile, which must call a step and not trace it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import steadystep
from cases import CLIPPERS, OPTIMIZERS

MAKERS: dict[str, Callable[[Any], Any]] = {
    "Adam": lambda params: steadystep.Adam(params, lr=0.01),
    "Adam clip": lambda params: steadystep.Adam(params, lr=0.01, clip=1.0),
    "unguarded": lambda params: steadystep.SGD(params, lr=0.01, nonfinite="propagate"),
    "eager": lambda params: steadystep.Lion(params, lr=0.01, clip=steadystep.AGC(), backend="eager"),
    "guard": lambda params: steadystep.guard(torch.optim.Adam(params, lr=0.01), clip=1.0),
    "guard undo": lambda params: steadystep.guard(torch.optim.SGD(params, lr=0.01), undo=True, report_updates=True),
}


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """Forget what was compiled before, so that its limits do not count."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def trained(make: Callable[[Any], Any], how: str, backend: str, closure: bool = False, extra: Any = None) -> Any:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    optimizer = make(model.parameters())
    if extra is not None:
        extra(optimizer)

    def loss(x: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        value = model(x).square().mean()
        value.backward()
        return value

    def train(x: torch.Tensor) -> Any:
        if closure:
            return step(lambda: loss(x))
        loss(x)
        step()
        return None

    step: Any = optimizer.step
    if how == "whole":
        train = torch.compile(train, backend=backend)
    elif how == "step":
        step = torch.compile(optimizer.step, backend=backend)
    for _ in range(4):
        train(torch.ones(2, 4))
    return [param.detach().clone() for param in model.parameters()], str(optimizer.ledger)


@pytest.mark.parametrize(("backend", "closure"), [("eager", False), ("eager", True), ("aot_eager", False)])
@pytest.mark.parametrize("how", ["whole", "step"])
@pytest.mark.parametrize("make", MAKERS)
def test_a_compiled_loop_trains_as_it_does_uncompiled(make: str, how: str, backend: str, closure: bool) -> None:
    (ours, ledger), (expected, expected_ledger) = (
        trained(MAKERS[make], way, backend, closure) for way in (how, "uncompiled")
    )
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b)
    if how == "step":  # the compiled forward pass may round differently
        assert ledger == expected_ledger


def test_every_optimizer_and_clipper_steps_in_a_compiled_loop() -> None:
    for case in OPTIMIZERS:
        trained(case.make, "whole", "eager")
    for clipper in CLIPPERS:
        trained(lambda params: steadystep.SGD(params, lr=0.1, clip=clipper.make()), "whole", "eager")  # noqa: B023


@pytest.mark.parametrize("make", ["Adam clip", "guard"])
def test_hooks_and_schedulers_work_in_a_compiled_loop(make: str) -> None:
    calls: list[str] = []

    def extra(optimizer: Any) -> None:
        optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
        optimizer.register_step_post_hook(lambda *_: calls.append("after"))
        torch.optim.lr_scheduler.StepLR(optimizer, 1)

    trained(MAKERS[make], "whole", "eager", extra=extra)
    assert calls == ["before", "after"] * 4


def test_many_optimizers_step_in_one_compiled_function() -> None:
    step = torch.compile(lambda optimizer: optimizer.step(), backend="eager")
    for _ in range(12):  # more than the compiler keeps versions of a function
        for make in MAKERS.values():
            param = torch.nn.Parameter(torch.ones(3))
            param.grad = torch.ones(3)
            optimizer = make([param])
            step(optimizer)
            assert bool((param < 1.0).all()) and optimizer.ledger["applied"] == 1


def test_clip_gradients_and_norm_profile_are_called_from_compiled_functions() -> None:
    model = torch.nn.Linear(3, 1)

    def clip(x: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        (model(x).sum() * 100).backward()
        return steadystep.clip_gradients(model.parameters(), 1.0)

    expected = clip(torch.ones(2, 3))
    assert torch.equal(torch.compile(clip, backend="eager")(torch.ones(2, 3)), expected)

    def profile(x: torch.Tensor) -> tuple[float, ...]:
        return steadystep.norm_profile(model, [x, x], lambda model, x: model(x).sum()).norms

    assert torch.compile(profile, backend="eager")(torch.ones(2, 3)) == profile(torch.ones(2, 3))


def test_the_compiler_is_not_imported_by_a_step() -> None:
    code = """
import sys, torch, steadystep
weight = torch.ones(3, requires_grad=True)
weight.grad = torch.ones(3)
for optimizer in (steadystep.Adam([weight], clip=1.0), steadystep.guard(torch.optim.Adam([weight], foreach=False))):
    before = "torch._dynamo" in sys.modules
    optimizer.step()
steadystep.clip_gradients([weight], 1.0)
print("torch._dynamo" in sys.modules and not before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == "False"
