"""Moments in bfloat16: half the memory, and right on average because they are rounded at random."""

import copy
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

import steadystep
from cases import OPTIMIZERS, OptimizerCase
from steadystep.kernels.cpu import intrinsics
from steadystep.kernels.cpu.update_kernel import BLOCK, NOISE
from steadystep.kernels.cuda.availability import why_unavailable
from steadystep.kernels.precision import round_to
from steadystep.lab.execution.batch_plan import plan_batches
from tiny_study import tiny_trial

HOME = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
"""Where Triton's kernels run: without a GPU, in its interpreter, which takes long."""

WITHOUT_TRITON = why_unavailable(HOME)
BACKENDS = (
    "eager",
    "numba",
    pytest.param(
        "triton", marks=pytest.mark.skipif(bool(WITHOUT_TRITON), reason=f"Triton does not run {WITHOUT_TRITON}")
    ),
)
rounded_at_random: Any = intrinsics.rounded_at_random


@pytest.fixture(autouse=True)
def divisions_by_zero() -> Iterator[None]:
    """Let Triton's interpreter compute both branches of a choice in NumPy."""
    with np.errstate(all="ignore"):
        yield


def home_of(backend: str) -> torch.device:
    return HOME if backend == "triton" else torch.device("cpu")


@njit
def rounded(x: Any, noises: np.ndarray) -> np.ndarray:
    found = np.empty(len(noises), np.uint16)
    for number in range(len(noises)):
        found[number] = rounded_at_random(x, noises[number])
    return found


def as_floats(halves: np.ndarray) -> np.ndarray:
    return (halves.astype(np.uint32) << 16).view(np.float32)


def slots(optimizer: steadystep.Optimizer, param: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the state of a parameter that has one number per element."""
    return {name: value for name, value in optimizer.state[param].items() if value.shape == param.shape}


@pytest.mark.parametrize("number", [1.0, 1.001, -1.003, 3e-39, 1e-45, 6.1e4, -7.77e20, 3.38e38])
def test_a_number_is_rounded_up_as_often_as_makes_it_right_on_average(number: float) -> None:
    x = np.float32(number)
    found = as_floats(rounded(x, np.arange(1 << 16, dtype=np.uint32))).astype(np.float64)
    assert len(set(found.tolist())) <= 2
    assert found.mean() == pytest.approx(float(x), rel=1e-12)


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, -np.nan])
def test_what_is_not_finite_stays_so(number: float) -> None:
    found = as_floats(rounded(np.float32(number), np.arange(0, 1 << 16, 257, dtype=np.uint32)))
    np.testing.assert_array_equal(found, np.full(len(found), number, np.float32))


def test_no_finite_number_becomes_infinite() -> None:
    largest = np.finfo(np.float32).max
    assert np.isfinite(as_floats(rounded(largest, np.arange(0, 1 << 16, 257, dtype=np.uint32)))).all()
    assert torch.isfinite(round_to(torch.bfloat16, torch.full((1000,), float(largest)), "stochastic")[0]).all()


def test_the_noise_of_a_block_is_uniform() -> None:
    for bits in (NOISE & 0xFFFF, NOISE >> 16):
        counts = np.histogram(bits, bins=16, range=(0, 1 << 16))[0]
        assert ((counts - BLOCK / 16) ** 2 / (BLOCK / 16)).sum() < 37.7  # the 99.9% quantile of chi squared, 15 degrees


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_every_optimizer_stays_close_to_its_float32_self(case: OptimizerCase, backend: str) -> None:
    """The moments have 8 bits, so that a step differs by some thousandths of itself."""
    ends, moved = [], 0.0
    for state_dtype in (None, torch.bfloat16):
        random = torch.Generator().manual_seed(0)
        param = torch.randn(3, BLOCK + 5, generator=random).to(home_of(backend)).requires_grad_()
        start = param.detach().clone()
        optimizer = case.make([param], backend=backend, state_dtype=state_dtype, clip=50.0)
        for _ in range(20 if backend != "triton" else 8):
            param.grad = (torch.randn(param.shape, generator=random) + 0.5).to(param.device)
            optimizer.step()
        expected = torch.bfloat16 if state_dtype else torch.float32
        assert {value.dtype for value in slots(optimizer, param).values()} <= {expected}
        ends.append(param.detach())
        moved = (param.detach() - start).square().mean().sqrt().item()
    assert (ends[1] - ends[0]).square().mean().sqrt().item() < 0.02 * moved


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_moment_decays_by_less_than_its_last_digit(backend: str) -> None:
    """A second moment of 1 decays by 1/1000 in a step, and its last digit is 1/256: to nearest, it would stay 1."""
    param = torch.zeros(16, BLOCK, device=home_of(backend), requires_grad=True)
    param.grad = torch.ones_like(param)
    optimizer = steadystep.Adam([param], lr=0.0, backend=backend, state_dtype="bfloat16")
    optimizer.step()
    optimizer.state[param]["exp_avg_sq"].fill_(1.0)
    param.grad.zero_()
    for _ in range(20):
        optimizer.step()
    found = optimizer.state[param]["exp_avg_sq"].float().mean().item()
    assert found == pytest.approx(0.999**20, abs=4e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_step_is_compiled_for_compact_state(backend: str) -> None:
    param = torch.ones(3, BLOCK, device=home_of(backend), requires_grad=True)
    param.grad = torch.ones_like(param)
    optimizer = steadystep.Adam([param], state_dtype=torch.bfloat16, backend=backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a backend that cannot update a tensor says so
        optimizer.step()
    assert {value.dtype for value in slots(optimizer, param).values()} == {torch.bfloat16}


@pytest.mark.parametrize("backend", [BACKENDS[0], BACKENDS[2]])
def test_elements_slots_and_steps_are_rounded_independently(backend: str) -> None:
    """All elements have the same moments, so that rounding alone tells them apart.

    The CPU kernel shares random bits within a block, so that only the steps of each element are independent there.
    """
    param = torch.zeros(2, 3 * BLOCK, device=home_of(backend), requires_grad=True)
    optimizer = steadystep.Adam([param], lr=0.0, backend=backend, state_dtype="bfloat16", betas=(0.9, 0.9))
    rows = []
    for _ in range(3):
        param.grad = torch.ones_like(param)
        optimizer.step()
        for name in ("exp_avg", "exp_avg_sq"):
            moment = optimizer.state[param][name]
            above = moment.float().flatten().cpu()
            rows.append(above - above.mean())
            moment.zero_()
    found = torch.stack(rows)
    limit = 5 / found.shape[1] ** 0.5
    assert (found.var(1) > 0).all()
    assert (torch.corrcoef(found) - torch.eye(len(found))).abs().max() < limit
    for distance in (1, 2, 16, BLOCK, 3 * BLOCK):
        correlation = (found[:, :-distance] * found[:, distance:]).mean(1) / found.square().mean(1)
        assert correlation.abs().max() < limit, f"elements at a distance of {distance}"


@pytest.mark.parametrize("backend", ["eager", "numba"])
def test_small_changes_of_a_moment_are_not_lost(backend: str) -> None:
    """Rounded to nearest, the second moment would stop growing at a fraction of its limit."""
    param = torch.zeros(64, BLOCK, requires_grad=True)
    optimizer = steadystep.Adam([param], lr=0.0, backend=backend, state_dtype="bfloat16")
    for _ in range(600):
        param.grad = torch.ones_like(param)
        optimizer.step()
    found = optimizer.state[param]["exp_avg_sq"].float().mean().item()
    assert found == pytest.approx(1.0 - 0.999**600, rel=2e-3)


@pytest.mark.parametrize("saved", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("loaded", [None, torch.bfloat16], ids=str)
def test_checkpoints_convert_both_ways(saved: Any, loaded: Any) -> None:
    def made(state_dtype: Any) -> tuple[torch.Tensor, steadystep.Optimizer]:
        param = torch.ones(3, 70, requires_grad=True)
        return param, steadystep.AdamW([param], lr=0.1, state_dtype=state_dtype)

    def train(param: torch.Tensor, optimizer: steadystep.Optimizer, first: int) -> None:
        for step in range(first, first + 5):
            param.grad = torch.randn(param.shape, generator=torch.Generator().manual_seed(step))
            optimizer.step()

    param, optimizer = made(saved)
    train(param, optimizer, 0)
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    content = torch.load(buffer, weights_only=True)
    assert content["param_groups"][0]["state_dtype"] == ("bfloat16" if saved else None)
    other, resumed = made(loaded)
    other.data.copy_(param.data)
    resumed.load_state_dict(content)
    assert resumed.param_groups[0]["state_dtype"] == ("bfloat16" if loaded else None)
    for name, value in slots(resumed, other).items():
        expected = optimizer.state[param][name]
        assert value.dtype == (torch.bfloat16 if loaded else torch.float32)
        assert torch.equal(value, expected.to(value.dtype))
    if saved == loaded:
        train(param, optimizer, 5)
        train(other, resumed, 5)
        assert torch.equal(param, other), "a resumed run rounds as it would have done"


def test_double_precision_and_complex_state_stay_precise() -> None:
    for dtype in (torch.float64, torch.complex64):
        param = torch.ones(5, dtype=dtype, requires_grad=True)
        param.grad = torch.ones_like(param)
        optimizer = steadystep.Adam([param], state_dtype=torch.bfloat16)
        optimizer.step()
        assert {value.dtype for value in slots(optimizer, param).values()} == {dtype}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_parameters_in_half_precision_may_have_compact_moments(dtype: torch.dtype) -> None:
    param = torch.ones(BLOCK + 3, dtype=dtype, requires_grad=True)
    optimizer = steadystep.Adam([param], lr=0.1, state_dtype=torch.bfloat16, rounding="kahan")
    param.grad = torch.ones_like(param)
    optimizer.step()
    kinds = {name: value.dtype for name, value in slots(optimizer, param).items()}
    assert kinds == {"exp_avg": torch.bfloat16, "exp_avg_sq": torch.bfloat16, "rounding_error": torch.float32}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_refused_step_changes_no_moment(backend: str) -> None:
    param = torch.ones(BLOCK, device=home_of(backend), requires_grad=True)
    optimizer = steadystep.Adam([param], state_dtype=torch.bfloat16, backend=backend)
    for value in (1.0, float("nan")):
        before = [state.clone() for state in slots(optimizer, param).values()]
        param.grad = torch.full_like(param, value)
        optimizer.step()
    assert optimizer.ledger["skipped"] == 1
    assert all(map(torch.equal, before, slots(optimizer, param).values()))


@pytest.mark.parametrize("given", [torch.bfloat16, "bfloat16", torch.float32, None], ids=str)
def test_a_group_may_have_its_own_dtype(given: Any) -> None:
    params = [torch.ones(3, requires_grad=True) for _ in range(3)]
    optimizer = steadystep.Adam([{"params": params[:1]}, {"params": params[1:2], "state_dtype": given}])
    optimizer.add_param_group({"params": params[2:], "state_dtype": given})
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    expected = torch.bfloat16 if given in (torch.bfloat16, "bfloat16") else torch.float32
    found = [optimizer.state[param]["exp_avg"].dtype for param in params]
    assert found == [torch.float32, expected, expected]


def test_an_optimizer_pickled_before_there_was_the_option_goes_on() -> None:
    param = torch.ones(3, requires_grad=True)
    optimizer = steadystep.Adam([param])
    for options in (optimizer.defaults, *optimizer.param_groups):
        del options["state_dtype"]
    param, resumed = copy.deepcopy((param, optimizer))
    resumed.load_state_dict(optimizer.state_dict())
    param.grad = torch.ones_like(param)
    resumed.step()
    assert resumed.state[param]["exp_avg"].dtype == torch.float32


@pytest.mark.parametrize("wrong", [torch.float16, torch.float64, "float16", 16])
def test_another_dtype_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"Adam stores moments in torch\.bfloat16, or, by default, in the precision"):
        steadystep.Adam([torch.ones(1, requires_grad=True)], state_dtype=wrong)


@pytest.mark.parametrize("stepped", [False, True])
def test_an_option_set_in_a_group_means_what_it_means_to_the_constructor(stepped: bool) -> None:
    for given, stored in (("float32", torch.float32), (torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16)):
        param = torch.ones(4, requires_grad=True)
        optimizer = steadystep.Adam([param])
        optimizer.param_groups[0]["state_dtype"] = given
        param.grad = torch.ones(4)
        optimizer.step()
        assert optimizer.state[param]["exp_avg"].dtype == stored
    for name, wrong in (("state_dtype", torch.float16), ("rounding", "up"), ("variant", "other")):
        param = torch.ones(4, requires_grad=True)
        optimizer = steadystep.Adam([param])
        param.grad = torch.ones(4)
        if stepped:
            optimizer.step()
            param.data = param.data.clone()
        before = param.detach().clone()
        optimizer.param_groups[0][name] = wrong
        with pytest.raises(ValueError, match=f"{name} is "):
            optimizer.step()
        assert torch.equal(param, before)


def test_a_study_trains_such_trials_alone() -> None:
    trials = [tiny_trial(seed=seed, options={"state_dtype": "bfloat16"}) for seed in range(1, 4)]
    assert [len(batch.trials) for batch in plan_batches(trials, replicas=3)] == [1, 1, 1]
