"""Steps under torch's settings: default devices and dtypes, inference mode, fake and meta tensors."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import steadystep
from cases import CLIPPERS, OPTIMIZERS, ClipperCase, OptimizerCase

Settings = Callable[[], AbstractContextManager[Any]]


class DefaultDtype(AbstractContextManager[None]):
    """Another default dtype within a block."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __enter__(self) -> None:
        self.before = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)

    def __exit__(self, *error: Any) -> None:
        torch.set_default_dtype(self.before)


ENVIRONMENTS: dict[str, Settings] = {
    "meta": lambda: torch.device("meta"),
    "cpu": lambda: torch.device("cpu"),
    "float64": lambda: DefaultDtype(torch.float64),
    "float16": lambda: DefaultDtype(torch.float16),
    "bfloat16": lambda: DefaultDtype(torch.bfloat16),
    "inference": torch.inference_mode,
}

FAST = ("meta", "bfloat16")
EVERY = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in ENVIRONMENTS]
"""All environments; those that differ most from the usual one also in the fast tests."""

DTYPES = {
    "float32": (torch.float32, torch.float32, torch.float32),
    "mixed": (torch.float32, torch.float16, torch.float64),
}

SHAPES = ((5, 3), (3,), ())


def parameters(kind: str) -> list[torch.Tensor]:
    generator = torch.Generator("cpu").manual_seed(0)
    return [
        torch.randn(shape, generator=generator, device="cpu", dtype=torch.float32).to(dtype).requires_grad_()
        for shape, dtype in zip(SHAPES, DTYPES[kind], strict=True)
    ]


def set_gradients(params: list[torch.Tensor], seed: int) -> None:
    generator = torch.Generator("cpu").manual_seed(seed)
    for param in params:
        gradient = torch.randn(param.shape, generator=generator, device="cpu", dtype=torch.float32)
        param.grad = gradient.to(param.dtype)


def trained(kind: str, settings: Settings, make: Callable[[list[torch.Tensor]], Any], steps: int = 5) -> list[Any]:
    """Return parameters and ledger after steps that are made and taken under some settings."""
    params = parameters(kind)
    with settings():
        optimizer = make(params)
        ledger = optimizer.ledger
    for step in range(steps):
        set_gradients(params, step)
        with settings():
            optimizer.step()
            ledger = optimizer.ledger
    return [[param.detach().clone() for param in params], str(ledger)]


def assert_same(kind: str, settings: Settings, make: Callable[[list[torch.Tensor]], Any]) -> None:
    (ours, ledger), (expected, expected_ledger) = trained(kind, settings, make), trained(kind, nullcontext, make)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
    assert ledger == expected_ledger


@pytest.mark.parametrize("environment", EVERY)
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_every_optimizer_steps_the_same_in_any_environment(case: OptimizerCase, environment: str) -> None:
    assert_same("float32", ENVIRONMENTS[environment], lambda params: case.make(params, clip=1.0))
    assert_same("mixed", ENVIRONMENTS[environment], lambda params: case.make(params, clip=1.0, backend="eager"))


@pytest.mark.parametrize("environment", EVERY)
@pytest.mark.parametrize("case", CLIPPERS, ids=str)
def test_every_clipper_clips_the_same_in_any_environment(case: ClipperCase, environment: str) -> None:
    for kind in DTYPES:
        for backend in (None, "eager"):
            assert_same(
                kind,
                ENVIRONMENTS[environment],
                lambda params: steadystep.SGD(params, lr=0.1, clip=case.make(), backend=backend),  # noqa: B023
            )
        if isinstance(case.make(), steadystep.ClipUpdate):
            continue
        assert_same(
            kind,
            ENVIRONMENTS[environment],
            lambda params: steadystep.guard(
                torch.optim.SGD(params, lr=0.1, foreach=False), clip=case.make(), undo=True, report_updates=True
            ),
        )


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize(
    "case", [case for case in CLIPPERS if not isinstance(case.make(), steadystep.ClipUpdate)], ids=str
)
def test_clip_gradients_clips_the_same_in_any_environment(case: ClipperCase, environment: str) -> None:
    def clipped(kind: str, settings: Settings) -> tuple[list[torch.Tensor], list[float]]:
        params, memory, norms = parameters(kind), {}, []
        for step in range(5):
            set_gradients(params, step)
            with settings():
                norms.append(float(steadystep.clip_gradients(params, case.make(), memory)))
        return [param.grad for param in params if param.grad is not None], norms

    for kind in DTYPES:
        (ours, norms), (expected, expected_norms) = clipped(kind, ENVIRONMENTS[environment]), clipped(kind, nullcontext)
        assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
        assert norms == expected_norms


@pytest.mark.parametrize("environment", ["meta", "cpu", "float64", "float16", "bfloat16"])
def test_norm_profile_is_the_same_in_any_environment(environment: str) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    batches = [torch.randn(8, 3, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    with ENVIRONMENTS[environment]():
        ours = steadystep.norm_profile(model, batches, lambda model, x: model(x).square().sum())
    assert ours == steadystep.norm_profile(model, batches, lambda model, x: model(x).square().sum())


def test_no_parameters_have_a_norm_of_0_on_the_cpu() -> None:
    with torch.device("meta"):
        assert float(steadystep.clip_gradients([], 1.0)) == 0.0


STEPS: dict[str, Callable[[torch.Tensor], Any]] = {
    "optimizer": lambda param: steadystep.Adam([param], clip=1.0).step(),
    "eager": lambda param: steadystep.SGD([param], lr=0.1, backend="eager").step(),
    "unguarded": lambda param: steadystep.SGD([param], lr=0.1, nonfinite="propagate").step(),
    "guard": lambda param: steadystep.guard(torch.optim.SGD([param], lr=0.1), clip=1.0).step(),
    "clip_gradients": lambda param: steadystep.clip_gradients([param], 1.0),
}


@pytest.fixture(params=["meta", "fake", "fake outside its mode"])
def without_elements(request: pytest.FixtureRequest) -> Iterator[tuple[torch.Tensor, str]]:
    """Yield a parameter with a shape and no elements, and what an error must call it."""
    if request.param == "meta":
        yield torch.ones(3, device="meta", requires_grad=True), "device meta"
        return
    mode = FakeTensorMode()
    with mode:
        param = torch.nn.Parameter(torch.ones(3))
        if request.param == "fake":
            yield param, "FakeTensor for cpu"
            return
        param.sum().backward()
    yield param, "FakeTensor for cpu"


@pytest.mark.parametrize("step", STEPS)
def test_a_tensor_without_elements_is_named(step: str, without_elements: tuple[torch.Tensor, str]) -> None:
    param, kind = without_elements
    if param.grad is None:
        param.grad = torch.ones_like(param)
    with pytest.raises(RuntimeError, match=rf"group 0, tensor 0, shape \(3,\) is .*{kind}"):
        STEPS[step](param)


@pytest.mark.parametrize("make", [lambda p: steadystep.Adam([p], clip=1.0), lambda p: steadystep.Adam([p])])
def test_parameters_that_lose_their_elements_between_steps_are_named(make: Callable[[Any], Any]) -> None:
    param = torch.nn.Parameter(torch.ones(3))
    optimizer = make(param)
    for _ in range(4):
        param.grad = torch.ones(3)
        optimizer.step()
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = torch.nn.Parameter(torch.ones(3))
        fake.grad = torch.ones(3)
    optimizer.param_groups[0]["params"][0] = fake
    with pytest.raises(RuntimeError, match="FakeTensor for cpu"):
        optimizer.step()


@pytest.mark.parametrize(
    "make", [lambda p: steadystep.Adam([p], clip=1.0), lambda p: steadystep.guard(torch.optim.Adam([p]), clip=1.0)]
)
def test_a_parameter_made_in_inference_mode_steps_there(make: Callable[[Any], Any]) -> None:
    with torch.inference_mode():
        param = torch.ones(3)
        param.grad = torch.ones(3)
        optimizer = make(param)
        for _ in range(4):
            optimizer.step()
    assert bool((param < 1.0).all())
