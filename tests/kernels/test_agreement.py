"""The compiled backend agrees with the eager one for every optimizer, clipper and dtype."""

import pytest
import torch

import steadystep
from cases import CLIPPERS, OPTIMIZERS, ClipperCase, OptimizerCase
from steadystep.kernels.cpu.parallel import CHUNK
from steadystep.kernels.cpu.update_kernel import BLOCK

SHAPES = ((3, 5), (8 * BLOCK - 1,), (2, 8 * BLOCK), (CHUNK + 8 * BLOCK + 3,), (), (1, 7, 2, 2))
"""Tensors that end within a block, at the end of a block, and in a second chunk."""

STEPS = 4


def trajectory(case: OptimizerCase, dtype: torch.dtype, backend: str, **options: object) -> list[torch.Tensor]:
    """Return the parameters and state after some steps with gradients of very different sizes."""
    random = torch.Generator().manual_seed(0)
    params = [torch.randn(shape, generator=random).to(dtype).requires_grad_() for shape in SHAPES]
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.02, "weight_decay": 0.01}]
    optimizer = case.make(groups, backend=backend, **options)
    for step in range(STEPS):
        for param in params:
            param.grad = (torch.randn(param.shape, generator=random) * 10.0 ** (step - 2)).to(dtype)
        optimizer.step()
    assert optimizer.ledger["applied"] == STEPS
    slots = [value for param in params for value in optimizer.state[param].values()]
    return [*(param.detach() for param in params), *slots]


def assert_backends_agree(case: OptimizerCase, dtype: torch.dtype, rtol: float, atol: float, **options: object) -> None:
    eager, compiled = (trajectory(case, dtype, backend, **options) for backend in ("eager", "numba"))
    torch.testing.assert_close(compiled, eager, rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_float64(case: OptimizerCase) -> None:
    """Where terms of order 10 cancel, the result keeps their absolute error, 1e-13."""
    assert_backends_agree(case, torch.float64, 1e-12, 1e-13, clip=3.0)


@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_float32(case: OptimizerCase) -> None:
    """Values of order 1 agree to within 16 units in the last place, because sums are computed in a different order."""
    assert_backends_agree(case, torch.float32, 16 * torch.finfo(torch.float32).eps, 2e-6, clip=3.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["SGD", "Adam", "LAMB", "Lion"])
def test_half_precision_with_float32_state(name: str, dtype: torch.dtype) -> None:
    """A difference in the last digit of a float32 result may change a parameter by one unit in the last place."""
    assert_backends_agree(OptimizerCase(name, {"lr": 0.01}), dtype, torch.finfo(dtype).eps, 1e-6, clip=3.0)


@pytest.mark.parametrize("clipper", CLIPPERS, ids=str)
@pytest.mark.parametrize("name", ["Adam", "StableAdamW"])
def test_every_clipper(name: str, clipper: ClipperCase) -> None:
    chain = [steadystep.ClipNorm(50.0), clipper.make()]
    for clip in (clipper.make(), chain):
        assert_backends_agree(OptimizerCase(name, {"lr": 0.01}), torch.float64, 1e-12, 1e-14, clip=clip)


def test_chains_of_clamps_and_scales() -> None:
    for clip in (
        [steadystep.ClipValue(0.5), 1.0],
        [1.0, steadystep.ClipValue(1e-3), 0.1],
        [steadystep.ClipValue(0.5), steadystep.ClipValue(0.2)],
    ):
        assert_backends_agree(OptimizerCase("Adam", {"lr": 0.01}), torch.float64, 1e-12, 1e-14, clip=clip)


def test_a_factor_that_is_a_subnormal_float32() -> None:
    moved = []
    for backend in ("eager", "numba"):
        param = torch.zeros(3, requires_grad=True)
        param.grad = torch.tensor([3e18, 4e18, 0.0])
        steadystep.SGD([param], lr=1.0, clip=1e-21, backend=backend).step()
        moved.append(param.detach() * 1e20)
    torch.testing.assert_close(moved[1], torch.tensor([-0.06, -0.08, 0.0]))
    torch.testing.assert_close(moved[0], moved[1])
