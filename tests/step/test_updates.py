"""The size of each update, and what an update writes that is not finite: told at that very step."""

import inspect
import warnings

import pytest
import torch

import steadystep
from tests.cases import OPTIMIZERS, OptimizerCase

every_case = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
BACKENDS = ("eager", None)


def parameters(dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in ((5, 3), (1300,), (7,))]


def set_gradients(params: list[torch.nn.Parameter], seed: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in params:
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


@every_case
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("clip", [None, 0.5, steadystep.ClipValue(0.2), steadystep.AGC(0.05)], ids=str)
def test_update_norms_are_those_of_what_was_added(
    case: OptimizerCase, backend: str | None, clip: float | steadystep.Clipper | None
) -> None:
    params = parameters()
    optimizer = case.make(params, backend=backend, clip=clip)
    for seed in range(5):  # the last ones are replayed, where steps are captured
        before = [parameter.detach().clone() for parameter in params]
        set_gradients(params, seed)
        optimizer.step()
        moved = [(p.detach().double() - q.double()).norm().item() for p, q in zip(params, before, strict=True)]
        assert list(optimizer.ledger["update_norms"].values()) == pytest.approx(moved, rel=1e-5, abs=1e-12)
    assert optimizer.ledger["nonfinite_updates"] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_refused_step_has_no_update(backend: str | None) -> None:
    params = parameters()
    optimizer = steadystep.Adam(params, backend=backend)
    for seed in range(4):
        set_gradients(params, seed)
        optimizer.step()
    norms = optimizer.ledger["update_norms"]
    params[0].grad = torch.full((5, 3), float("nan"))
    optimizer.step()
    assert optimizer.ledger["skipped_nonfinite"] == 1
    assert optimizer.ledger["update_norms"] == norms


def overflowing(
    case: OptimizerCase, backend: str | None, **options: object
) -> tuple[steadystep.Optimizer, torch.Tensor]:
    """Return an optimizer whose update takes a float16 parameter, already near its largest value, beyond it."""
    far = torch.nn.Parameter(torch.full((9,), 60000.0, dtype=torch.float16))
    near = torch.nn.Parameter(torch.zeros(9, dtype=torch.float16))
    more = {"lr": 1e6, "maximize": True, "weight_decay": 0.0, **options}
    if "final_lr" in inspect.signature(getattr(steadystep, case.name)).parameters:
        more["final_lr"] = 1e6
    optimizer = case.make([("near", near), ("far", far)], backend=backend, **more)
    near.grad, far.grad = torch.ones_like(near), torch.ones_like(far)
    return optimizer, far


@every_case
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_update_that_overflows_names_its_tensor(case: OptimizerCase, backend: str | None) -> None:
    optimizer, far = overflowing(case, backend, nonfinite="raise")
    with pytest.raises(steadystep.NonFiniteUpdateError, match="far"):
        for _ in range(12):  # the first updates of some rules are 0
            optimizer.step()
            assert far.isfinite().all(), "nothing was said of what was written"
    assert optimizer.ledger["nonfinite_updates"] == 1


@every_case
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_update_that_overflows_is_counted_and_told_once(case: OptimizerCase, backend: str | None) -> None:
    optimizer, far = overflowing(case, backend)
    with pytest.warns(UserWarning, match=r"not finite to .*far") as caught:
        for _ in range(12):
            optimizer.step()
    assert len(caught) == 1
    assert not far.isfinite().all()
    assert optimizer.ledger["nonfinite_updates"] >= 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_state_that_overflows_is_told(backend: str | None) -> None:
    params = parameters()
    optimizer = steadystep.Adam(params, backend=backend, nonfinite="raise")
    set_gradients(params, 0)
    optimizer.step()
    optimizer.state[params[1]]["exp_avg_sq"].fill_(float("inf"))
    set_gradients(params, 1)
    with pytest.raises(steadystep.NonFiniteUpdateError, match="tensor 1"):
        optimizer.step()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_large_update_is_not_taken_for_one_that_is_not_finite(backend: str | None) -> None:
    """The square of the update overflows float32, the update does not."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = steadystep.SGD([parameter], lr=1e30, backend=backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            parameter.grad = torch.ones(3)
            optimizer.step()
    assert optimizer.ledger["nonfinite_updates"] == 0
    assert optimizer.ledger["applied"] == 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_propagate_only_counts(backend: str | None) -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = steadystep.SGD([parameter], lr=0.1, nonfinite="propagate", backend=backend)
    parameter.grad = torch.tensor([float("nan"), 0.0, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
    assert parameter.isnan().any()
    assert optimizer.ledger["nonfinite_updates"] == 1
