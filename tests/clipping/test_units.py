"""Compare compiled and eager steps with AGC, which clips each unit, for every layout, dtype and kind of rule."""

from collections.abc import Callable

import pytest
import torch

import steadystep
from steadystep.clipping.chain import Clip
from steadystep.kernels import units

LAYOUTS: dict[str, Callable[[], torch.Tensor]] = {
    "rows": lambda: torch.randn(40, 30),
    "one row": lambda: torch.randn(1, 50_000),
    "units longer than a chunk": lambda: torch.randn(3, 40_000),
    "units of one": lambda: torch.randn(70, 1),
    "vector": lambda: torch.randn(100),
    "scalar": lambda: torch.tensor(0.01),
    "channels last": lambda: torch.randn(8, 5, 3, 3).to(memory_format=torch.channels_last),
    "columns": lambda: torch.randn(30, 40).t(),
    "float64": lambda: torch.randn(12, 7, dtype=torch.float64),
    "complex": lambda: torch.randn(6, 5, dtype=torch.complex64),
    "bfloat16": lambda: torch.randn(12, 7).bfloat16(),
}
CLIPS: dict[str, Callable[[], Clip]] = {
    "AGC": lambda: steadystep.AGC(0.05),
    "AGC, norm": lambda: [steadystep.AGC(0.05), 0.3],
    "norm by tensor, AGC": lambda: [steadystep.ClipNorm(0.5, "parameter"), steadystep.AGC(0.02)],
    "value, AGC": lambda: [steadystep.ClipValue(0.5), steadystep.AGC(0.05)],
    "AGC, value, AGC": lambda: [steadystep.AGC(0.05), steadystep.ClipValue(0.01), steadystep.AGC(0.02)],
    "AGC, update": lambda: [steadystep.AGC(0.05), steadystep.ClipUpdate(0.5)],
}


def stepped(
    kind: type[steadystep.Adam | steadystep.LAMB], clip: Clip, starts: list[torch.Tensor], backend: str
) -> tuple[list[torch.Tensor], dict[str, float]]:
    """Return the parameters and norms after three steps; spikes make the gradients differ between units."""
    torch.manual_seed(1)
    params = [start.detach().clone(memory_format=torch.preserve_format).requires_grad_() for start in starts]
    optimizer = kind(params, lr=0.01, clip=clip, backend=None if backend == "numba" else backend)
    for _ in range(3):
        for param in params:
            unit_shape = [-1, *[1] * (param.dim() - 1)] if param.dim() else []
            spikes = torch.exp(2 * torch.randn(param.shape[:1])).reshape(unit_shape)
            param.grad = (torch.randn_like(param) * spikes).to(param.dtype)
        optimizer.step()
    return params, {name: optimizer.ledger[name] for name in ("norm_before", "norm_after", "clipped")}


@pytest.mark.parametrize("kind", [steadystep.Adam, steadystep.LAMB])
@pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS)
@pytest.mark.parametrize("layout", ["all", *LAYOUTS])
def test_compiled_steps_equal_eager_steps(
    kind: type[steadystep.Adam | steadystep.LAMB], clip: Callable[[], Clip], layout: str
) -> None:
    torch.manual_seed(0)
    starts = [LAYOUTS[name]() for name in LAYOUTS if layout in (name, "all")]
    (compiled, norms), (eager, reference) = (stepped(kind, clip(), starts, name) for name in ("numba", "eager"))
    for mine, other, start in zip(compiled, eager, starts, strict=True):
        tolerance = 1e-12 if start.dtype == torch.float64 and layout == "float64" else 2e-6
        if start.dtype == torch.bfloat16:
            tolerance = 2**-7  # one unit in the last place
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)
    assert norms == pytest.approx(reference, rel=1e-6)
    assert norms["clipped"] == 3


def test_norm_after_is_the_norm_of_the_clipped_gradient() -> None:
    torch.manual_seed(0)
    params = [torch.randn(20, 9, dtype=torch.float64, requires_grad=True), torch.randn(7, requires_grad=True)]
    for param in params:
        param.grad = torch.randn_like(param)
    optimizer = steadystep.SGD(params, lr=1.0, clip=steadystep.AGC(0.1))
    before = [param.detach().clone() for param in params]
    optimizer.step()
    moved = torch.cat([(old - new).double().flatten() for old, new in zip(before, params, strict=True)])
    assert optimizer.ledger["norm_after"] == pytest.approx(moved.norm().item(), rel=1e-6)
    assert optimizer.ledger["norm_after"] < 0.2 * optimizer.ledger["norm_before"]


@pytest.mark.parametrize("backend", [None, "eager"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_unit_refuses_the_step(backend: str | None, bad: float) -> None:
    param = torch.ones(3, 4, requires_grad=True)
    param.grad = torch.ones(3, 4)
    param.grad[1, 2] = bad
    optimizer = steadystep.SGD([param], lr=1.0, clip=steadystep.AGC(0.1), backend=backend)
    optimizer.step()
    assert torch.equal(param.detach(), torch.ones(3, 4)) and optimizer.ledger["skipped_nonfinite"] == 1


def test_an_excluded_tensor_is_not_clipped_beside_tensors_clipped_by_unit() -> None:
    linear = torch.nn.Linear(4, 3)
    for param in linear.parameters():
        param.grad = torch.full_like(param, 5.0)
    before = linear.weight.detach().clone()
    steadystep.SGD(linear.named_parameters(), lr=1.0, clip=steadystep.AGC(0.01, exclude=["weight"])).step()
    assert torch.equal(linear.weight.detach(), before - 5.0)


@pytest.mark.parametrize("backend", [None, "eager"])
def test_sizes_of_units_near_the_limits_of_float64(backend: str | None) -> None:
    rows = torch.tensor([[3e200, 4e200], [3e-200, 4e-200], [0.0, 0.0]], dtype=torch.float64)
    result = units.measure_units([rows], [rows], {}, backend)
    assert result.norms == pytest.approx([5e200, 5e-200, 0.0], rel=1e-14)
    assert result.abs_max.tolist() == [4e200, 4e-200, 0.0]


def test_units_are_measured_anew_when_their_tensors_have_changed() -> None:
    """What is prepared for one kind of tensors must not serve another, even of the same shape."""
    torch.manual_seed(0)
    flat = torch.randn(12, dtype=torch.complex64)
    kinds = {
        "rows": torch.randn(6, 2),
        "columns": torch.randn(2, 6).T,
        "float64": torch.randn(6, 2, dtype=torch.float64),
        "a negated view": torch.randn(6, 2, dtype=torch.complex64).conj().imag,
        "with gaps": torch.randn(6, 4)[:, ::2],
    }
    prepared: dict[str, object] = {}
    for name in [*kinds, *kinds]:
        tensor = kinds[name]
        expected = torch.linalg.vector_norm(tensor.double(), dim=1)
        found = units.measure_units([tensor], [tensor], prepared, None)
        torch.testing.assert_close(torch.from_numpy(found.norms), expected, rtol=1e-12, atol=0.0, msg=name)
    # The same memory is one unit as a complex vector, and twelve as a matrix of its real numbers.
    reals = torch.view_as_real(flat)
    for whole, count in ((flat, 1), (reals, 12), (flat, 1)):
        assert units.measure_units([reals], [whole], prepared, None).counts == (count,)
