"""The CPU kernels: their arithmetic, threads and cache, and the inputs that they do not support."""

import gc
import logging
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numba import njit, types
from numba.core.caching import FunctionCache

import steadystep
from steadystep import disk_cache
from steadystep.gradients.gradient_set import gather_gradients
from steadystep.kernels.cpu import intrinsics, jit, parallel
from steadystep.kernels.cpu.norm_kernel import NormPass
from steadystep.kernels.cpu.parallel import CHUNK
from steadystep.kernels.dispatch import measure

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def sizes(*gradients: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    measuring = NormPass(gradients[0].dtype, tuple(gradient.numel() for gradient in gradients))
    return measuring.run(np.array([gradient.data_ptr() for gradient in gradients], np.int64))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_norms_agree_with_exact_arithmetic(dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    gradients = [torch.randn(n, generator=random).to(dtype) for n in (1, 1023, 1024, 1025, CHUNK, CHUNK + 1, 0, 3)]
    norms, peaks = sizes(*gradients)
    exact = [math.sqrt(math.fsum(x * x for x in gradient.tolist())) for gradient in gradients]
    np.testing.assert_allclose(norms, exact, rtol=1e-14)
    assert peaks.tolist() == [max(map(abs, gradient.tolist()), default=0.0) for gradient in gradients]


def test_norms_of_values_whose_squares_overflow_or_underflow() -> None:
    tiny, huge = (torch.full((CHUNK + 9,), value, dtype=torch.float64) for value in (1e-200, 1e200))
    mixed = torch.cat([tiny[:CHUNK], torch.zeros(CHUNK).double(), huge[:5]])
    norms, _ = sizes(tiny, huge, mixed)
    root = math.sqrt(CHUNK + 9)
    np.testing.assert_allclose(norms, [1e-200 * root, 1e200 * root, 1e200 * math.sqrt(5)], rtol=1e-13)
    norms, _ = sizes(torch.full((4,), 1e30), torch.full((4,), 1e-30))
    np.testing.assert_allclose(norms, [2e30, 2e-30], rtol=1e-6)
    norms, _ = sizes(torch.full((4,), 40000.0).half())
    assert norms.tolist() == [80000.0]


@pytest.mark.parametrize("position", [0, 1023, 1024, CHUNK - 1, CHUNK, CHUNK + 1])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_non_finite_element_is_detected_at_any_position(dtype: torch.dtype, bad: float, position: int) -> None:
    gradient = torch.ones(CHUNK + 2, dtype=dtype)
    gradient[position] = bad
    norms, peaks = sizes(torch.ones(3, dtype=dtype), gradient)
    assert norms[0] == pytest.approx(math.sqrt(3))
    assert not np.isfinite([norms[1], peaks[1]]).any()
    assert np.isnan(peaks[1]) == math.isnan(bad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_read_and_rounded_as_torch_does(dtype: torch.dtype) -> None:
    """Test every 16-bit number, the midpoints of neighbours, and values slightly above and below the midpoints."""
    name = str(dtype).removeprefix("torch.")
    load, store = intrinsics.LOADS[name], intrinsics.STORES[name]

    @njit(types.void(types.uint16[::1], types.float32[::1], types.uint16[::1]))
    def convert(bits, floats, rounded):
        for i in range(len(bits)):
            floats[i] = load(bits[i])
            rounded[i] = store(floats[i])

    bits = torch.arange(1 << 16).to(torch.uint16)
    floats, rounded = torch.empty(1 << 16), torch.empty(1 << 16, dtype=torch.uint16)
    convert(bits.numpy(), floats.numpy(), rounded.numpy())
    expected = bits.view(dtype).float()
    torch.testing.assert_close(floats, expected, rtol=0, atol=0, equal_nan=True)

    finite = expected[torch.isfinite(expected)].double().sort().values
    middle = ((finite[1:] + finite[:-1]) / 2).float()
    floats = torch.cat(
        [middle, middle * (1 + 2**-20), middle * (1 - 2**-20), torch.tensor([3.4e38, -3.4e38, math.nan])]
    )
    rounded = torch.empty(len(floats), dtype=torch.uint16)

    @njit(types.void(types.float32[::1], types.uint16[::1]))
    def narrow(floats, rounded):
        for i in range(len(floats)):
            rounded[i] = store(floats[i])

    narrow(floats.numpy(), rounded.numpy())
    torch.testing.assert_close(rounded.view(dtype), floats.to(dtype), rtol=0, atol=0, equal_nan=True)


# Threads and processes.


def stepped(threads: int) -> list[torch.Tensor]:
    """Return the parameters and state after some clipped steps of a model that is large enough for several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        random = torch.Generator().manual_seed(1)
        params = [torch.randn(n, generator=random).requires_grad_() for n in (3 * CHUNK + 7, 5, CHUNK)]
        optimizer = steadystep.LAMB(params, lr=0.01, weight_decay=0.1, clip=1.0, backend="numba")
        for _ in range(5):
            for param in params:
                param.grad = torch.randn(param.shape, generator=random)
            optimizer.step()
        return [x.detach() for param in params for x in (param, *optimizer.state[param].values())]
    finally:
        torch.set_num_threads(before)


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_number_of_threads_changes_no_bit() -> None:
    alone = stepped(1)
    assert all(same(stepped(threads), alone) for threads in (2, 3, 7))


def test_steps_in_several_threads_at_once() -> None:
    expected, results = stepped(1), []
    threads = [threading.Thread(target=lambda: results.append(stepped(2))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(same(result, expected) for result in results)


def _measure_in_child(results) -> None:
    torch.set_num_threads(2)  # torch itself would deadlock here; the code below does not use torch's threads
    gradient = np.full(4 * CHUNK, 2.0, np.float32)
    norms, _ = NormPass(torch.float32, (4 * CHUNK,)).run(np.array([gradient.ctypes.data]))
    results.put((norms.tolist(), len(parallel.TEAM._threads)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_starts_its_own_threads(method: str) -> None:
    stepped(2)
    assert parallel.TEAM._threads
    context: Any = multiprocessing.get_context(method)
    results = context.SimpleQueue()
    child = context.Process(target=_measure_in_child, args=(results,))
    child.start()
    child.join(60)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0
    assert results.get() == ([2.0 * math.sqrt(4 * CHUNK)], 1)


class TrainingDataset(torch.utils.data.Dataset):
    """A dataset that trains a model to produce each example, so that steps run in a DataLoader worker."""

    def __init__(self, expected: list[torch.Tensor]) -> None:
        self._expected = expected

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> bool:
        return same(stepped(torch.get_num_threads()), self._expected)


def test_in_a_data_loader_worker() -> None:
    loader = torch.utils.data.DataLoader(TrainingDataset(stepped(2)), batch_size=None, num_workers=1)
    assert list(loader) == [True, True]


def test_a_thread_that_starts_late_has_no_work_left() -> None:
    calls: list[int] = []

    def kernel(counters: np.ndarray, shares: np.ndarray, table: np.ndarray) -> None:
        while counters[0] < len(shares) - 1:
            counters[0] += 1
            calls.append(threading.get_ident())

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        parallel.Team().run(kernel, parallel.chunks((parallel.CHUNK,) * 3))
    finally:
        torch.set_num_threads(before)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("elements", "started"), [(parallel.MIN_SHARED_ELEMENTS, 0), (3 * CHUNK, 2), (3 * CHUNK + 1, 3)]
)
def test_no_more_threads_are_woken_than_there_are_shares(elements: int, started: int) -> None:
    before, team = torch.get_num_threads(), parallel.Team()
    torch.set_num_threads(64)
    try:
        team.run(lambda *job: None, parallel.chunks((elements,)))
    finally:
        torch.set_num_threads(before)
    assert len(team._threads) == started


@given(st.lists(st.integers(0, 3 * parallel.CHUNK), max_size=20))
def test_shares_are_as_long_as_a_chunk_and_hold_every_chunk_once(sizes: list[int]) -> None:
    work = parallel.chunks(tuple(sizes))
    assert work.shares[0] == 0 and work.shares[-1] == len(work.table)
    assert (np.diff(work.shares) > 0).all()
    lengths = [int(part[:, 2].sum()) for part in np.split(work.table, work.shares[1:-1])]
    assert sum(lengths) == sum(sizes) and max(lengths, default=0) < 2 * parallel.CHUNK


# Tensors that move, and memory.


def test_a_step_after_the_storage_of_a_tensor_has_changed() -> None:
    param, twin = (torch.ones(6, requires_grad=True) for _ in range(2))
    ours = steadystep.Adam([param], lr=0.1, backend="numba")
    reference = steadystep.Adam([twin], lr=0.1, backend="eager")

    def step() -> None:
        for x in (param, twin):
            x.grad = torch.full((6,), 0.5)
        ours.step()
        reference.step()

    step()
    param.data = param.data.clone()  # new storage
    step()
    ours.state[param]["exp_avg"] = ours.state[param]["exp_avg"].clone()
    step()
    ours.state[param]["exp_avg_sq"].data = ours.state[param]["exp_avg_sq"].data.clone()
    step()
    ours.load_state_dict(reference.state_dict())
    step()
    late, late_twin = (torch.ones(2, requires_grad=True) for _ in range(2))
    for optimizer, x in ((ours, late), (reference, late_twin)):
        optimizer.add_param_group({"params": [x], "lr": 0.3})
        x.grad = torch.ones(2)
    step()
    ours.param_groups[0]["params"][0], reference.param_groups[0]["params"][0] = late, late_twin
    step()
    torch.testing.assert_close([param, late], [twin, late_twin], rtol=1e-6, atol=1e-7)


def test_gradients_are_released_after_the_step() -> None:
    param = torch.ones(5, requires_grad=True)
    optimizer = steadystep.Adam([param], clip=1.0)
    for _ in range(2):
        param.grad = torch.ones(5)
        gone = weakref.ref(param.grad)
        optimizer.step()
        optimizer.zero_grad()
        gc.collect()
        assert gone() is None


def test_a_forced_backend_refuses_unsupported_parameters() -> None:
    gaps = torch.ones(3, 2)[:, 0].detach().requires_grad_()
    gaps.grad = torch.ones(3)
    with pytest.raises(ValueError, match=r"shape \(3,\) whose elements are not dense in memory"):
        steadystep.Adam([gaps], backend="numba").step()
    half = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    half.grad = torch.ones_like(half)
    with pytest.raises(ValueError, match="rounding='stochastic'"):
        steadystep.Adam([half], rounding="stochastic", backend="numba").step()
    with pytest.raises(ValueError, match="'eager', 'numba'"):
        steadystep.Adam([gaps], backend="cuda")


def test_norms_of_mixed_dtypes_and_layouts() -> None:
    random = torch.Generator().manual_seed(0)
    params = [torch.randn(4, 6, generator=random).to(dtype).requires_grad_() for dtype in (*DTYPES, torch.float32)]
    for param in params:
        param.grad = torch.randn(6, 4, generator=random).to(param.dtype).t()
    params[-1].grad = torch.ones(()).expand(4, 6)
    tensors = gather_gradients([{"params": params}], "the test")
    compiled, eager = (measure(tensors, backend=backend) for backend in (None, "eager"))
    np.testing.assert_allclose(compiled.norms, eager.norms, rtol=1e-12)
    assert compiled.abs_max.tolist() == eager.abs_max.tolist()


# Compilation.


def test_compiled_code_is_cached_on_disk(tmp_path: Path) -> None:
    program = (
        "import logging, torch, steadystep; logging.basicConfig(level=logging.DEBUG)\n"
        "p = torch.ones(3, requires_grad=True); p.grad = torch.ones(3); steadystep.Adagrad([p], clip=1.0).step()"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DEBUG_CACHE": "1"}

    def run() -> str:
        return subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        ).stdout

    first, second = run(), run()
    used = first.count("data saved") + first.count("data loaded")  # some may be in the folder of the installation
    assert second.count("data loaded") == used >= 2
    assert "data saved" not in second


def test_a_changed_rule_is_compiled_again() -> None:
    def kernel(rule):
        source = "def kernel(x):\n    x[0] = rule(x[0])"
        return jit.compile_kernel("test", source, {}, rule, types.void(types.float64[::1]))

    def one(x):
        return x + 1.0

    def other(x):
        return x + 2.0

    values = np.zeros(1)
    for rule, expected in ((one, 1.0), (other, 3.0), (one, 4.0)):
        kernel(rule)(values)
        assert values[0] == expected


def test_a_long_compilation_logs_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Slow(FunctionCache):
        def load_overload(self, sig: Any, target_context: Any) -> None:
            """Find nothing, after the warning is logged: the logging thread may be delayed on a busy machine."""
            for _ in range(3000):
                if "compiling the CPU kernel slow" in caplog.text:
                    break
                time.sleep(0.01)

    monkeypatch.setattr(jit, "SAY_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(disk_cache, "_cache_of", Slow)
    with caplog.at_level(logging.WARNING, logger=jit.__name__):
        jit.compile_kernel("slow", "def kernel(x):\n    x[0] = 5.0", {}, None, types.void(types.float64[::1]))
    assert "compiling the CPU kernel slow for this processor, which takes some seconds; it is kept in /" in caplog.text


def test_code_is_compiled_without_a_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, function: Any) -> None:
        raise RuntimeError("cannot cache function 'kernel': no locator available")

    monkeypatch.setattr(FunctionCache, "__init__", refuse)
    kernel = jit.compile_kernel("kept", "def kernel(x):\n    x[0] = 7.0", {}, None, types.void(types.float64[::1]))
    values = np.zeros(1)
    kernel(values)
    assert values[0] == 7.0


def installation(folder: Path) -> dict[str, str]:
    """Copy the package without its compiled code, and return the environment that imports the copy."""
    package = Path(steadystep.__file__).parent
    shutil.copytree(package, folder / "steadystep", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return environment | {"PYTHONPATH": str(folder), "NUMBA_DEBUG_CACHE": "1"}


def output_of(environment: dict[str, str], folder: Path, *arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_all_kernels_can_be_compiled_beforehand(tmp_path: Path) -> None:
    environment = installation(tmp_path / "site")
    said = output_of(environment, tmp_path, "-m", "steadystep.compile_kernels")
    assert f"{tmp_path}/site/steadystep/kernels/cpu/__pycache__, for all users of this installation." in said
    later = output_of(
        {**environment, "NUMBA_CACHE_DIR": str(tmp_path / "mine")}, tmp_path, "-m", "steadystep.compile_kernels"
    )
    assert "data loaded" in later and "data saved" not in later


def test_the_kernels_of_an_installation_are_read_by_all_users(tmp_path: Path) -> None:
    """NUMBA_CACHE_DIR stands for the cache of a user who cannot write to the folder of the installation."""
    site, environment = tmp_path / "site", installation(tmp_path / "site")
    program = (
        "import torch, steadystep; from steadystep.kernels.cpu import jit; print(jit.__file__)\n"
        "p = torch.ones(3, requires_grad=True); p.grad = torch.ones(3); steadystep.Adagrad([p], clip=1.0).step()"
    )

    def run(**more: str) -> str:
        said = output_of({**environment, **more}, tmp_path, "-c", program)
        assert str(site) in said
        return said

    mine = {"NUMBA_CACHE_DIR": str(tmp_path / "mine")}
    saved = run().count("data saved")
    later = run(**mine)
    assert later.count("data loaded") == saved >= 2 and "data saved" not in later
    for file in [*site.rglob("*.nbi")]:
        file.unlink()
        file.mkdir()  # a file that cannot be read is one that is not there
    assert run(**mine).count("data saved") == saved
