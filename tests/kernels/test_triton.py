"""The Triton backend: compiled where there is a CUDA device, and in Triton's interpreter otherwise."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import steadystep
from cases import CLIPPERS, OPTIMIZERS, ClipperCase, OptimizerCase
from steadystep.clipping.transforms import Clamp, Scale, Transform
from steadystep.gradients.gradient_set import GradientSet, gather_gradients
from steadystep.kernels import dispatch
from steadystep.kernels.codegen import Equation
from steadystep.kernels.cuda import chunks
from steadystep.kernels.cuda.availability import why_unavailable
from steadystep.kernels.update import Update, UpdatePass
from steadystep.rule import Rule
from steadystep.tracing.ops import maximum
from steadystep.tracing.verdict import Verdict

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu") if INTERPRETED else torch.device("cuda")
pytestmark = pytest.mark.skipif(bool(why_unavailable(DEVICE)), reason=f"Triton does not run {why_unavailable(DEVICE)}")

CHUNK, BLOCK = 32, 16
"""Small sizes, so that tensors have boundaries of chunks and blocks; they also compile for a GPU."""

FEW_ULP = 16 * torch.finfo(torch.float32).eps
"""The tolerance for another order of rounding: a norm with another last digit, over two steps."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(chunks, "CHUNK", CHUNK)
    monkeypatch.setattr(chunks, "BLOCK", BLOCK)
    with np.errstate(all="ignore"):  # the interpreter computes in NumPy, and kernels may divide by 0
        yield


def parameters(dtype: torch.dtype) -> list[torch.Tensor]:
    """Return three tensors: a chunk, a block and a remainder; less than a block; and a single number."""
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((5, 10), (3,), ())]
    return [tensor.to(DEVICE, dtype).requires_grad_() for tensor in made]


def set_gradients(params: list[torch.Tensor], seed: int, size: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        gradient = size * torch.randn(param.shape, generator=generator, dtype=torch.float64)
        param.grad = gradient.to(param.device, param.dtype)


def snapshot(optimizer: torch.optim.Optimizer, params: list[torch.Tensor]) -> list[torch.Tensor]:
    state = [entry[name] for entry in optimizer.state.values() for name in sorted(entry)]
    return [tensor.detach().clone() for tensor in (*params, *state)]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def trajectory(case: OptimizerCase, backend: str, dtype: torch.dtype, clip: Any) -> list[torch.Tensor]:
    """Return the parameters and state after three steps, the second of which is skipped."""
    params = parameters(dtype)
    optimizer = case.make(params, clip=clip, backend=backend)
    for step in range(3):
        set_gradients(params, step)
        if step != 1:
            optimizer.step()
            continue
        assert params[1].grad is not None
        params[1].grad[0] = math.nan
        before = snapshot(optimizer, params)
        optimizer.step()
        assert same(snapshot(optimizer, params), before)
    ledger = optimizer.ledger
    assert (ledger["applied"], ledger["skipped"], ledger["last_skip"]) == (2, 1, {"step": 2, "reason": "nonfinite"})
    assert ledger["faults"] == {"group 0, tensor 1, shape (3,)": 1}
    return snapshot(optimizer, params)


def assert_agree(case: OptimizerCase, dtype: torch.dtype, clip: Any, rtol: float, atol: float) -> None:
    ours, reference = (trajectory(case, backend, dtype, clip) for backend in ("triton", "eager"))
    for mine, theirs in zip(ours, reference, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_the_whole_table_agrees_with_eager(case: OptimizerCase, dtype: torch.dtype) -> None:
    tolerance = (1e-12, 1e-14) if dtype == torch.float64 else (FEW_ULP, FEW_ULP / 16)
    assert_agree(case, dtype, 1.0, *tolerance)


SOME = [case for case in OPTIMIZERS if str(case) in ("SGD lr=0.1 momentum=0.9", "LAMB lr=0.01 weight_decay=0.1")]


@pytest.mark.parametrize("clipper", CLIPPERS, ids=str)
@pytest.mark.parametrize("case", SOME, ids=str)
def test_every_clipper_agrees_with_eager(case: OptimizerCase, clipper: ClipperCase) -> None:
    assert_agree(case, torch.float64, clipper.make(), 1e-12, 1e-14)


def test_a_chain_of_clippers_agrees_with_eager() -> None:
    """A chain of scales around one clamp runs in a kernel; a chain with a second clamp is left to torch."""
    first = [steadystep.SmoothClip(10.0), steadystep.ClipValue(1.0), 2.0, steadystep.ClipNorm(1.0, scope="parameter")]
    for clip in (first, [*first, steadystep.ClipValue(0.1)]):
        assert_agree(OptimizerCase("AdamW"), torch.float64, clip, 1e-12, 1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", [*SOME, OptimizerCase("AdamW"), OptimizerCase("Lion")], ids=str)
def test_half_precision_agrees_with_eager(case: OptimizerCase, dtype: torch.dtype) -> None:
    assert_agree(case, dtype, 1.0, torch.finfo(dtype).eps, 1e-7)  # one digit of the parameter


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_rounded_as_torch_rounds(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 1024)
    monkeypatch.setattr(chunks, "BLOCK", 1024)
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**15), 2**15, (2, 4000), generator=generator, dtype=torch.int16)
    bits[:, :8] = torch.tensor(
        [0, -(2**15), 1, 2**14, 0x7F7F, 0x7F80, 0x7FC0, 0x7BFF]
    )  # 0, subnormal, largest, NaN ...
    results = []
    for backend in ("triton", "eager"):
        param, gradient = (row.to(DEVICE).view(dtype).clone() for row in bits)
        param.requires_grad_().grad = gradient
        steadystep.SGD([param], lr=1.0, nonfinite="propagate", backend=backend).step()
        results.append(param.detach())
    torch.testing.assert_close(*results, rtol=0, atol=0, equal_nan=True)


def updates_of(optimizer: steadystep.Optimizer, params: list[torch.Tensor]) -> list[Update]:
    rule = optimizer.rule(optimizer.param_groups[0])
    tensors = gather_gradients(optimizer.param_groups, "test")
    return [
        Update(index, tensors, param.detach(), [optimizer.state[param][slot] for slot in rule.slots], param)
        for index, param in enumerate(params)
    ]


@dataclass
class Prepared:
    """An update pass over parameters that have taken one step, with the inputs of the next step."""

    run: UpdatePass
    params: list[torch.Tensor]
    optimizer: steadystep.Optimizer
    coefficients: Mapping[str, Any]
    values: Mapping[str, Any]

    def snapshot(self) -> list[torch.Tensor]:
        return snapshot(self.optimizer, self.params)


def prepared(case: OptimizerCase, bad: float | None = None) -> Prepared:
    params = parameters(torch.float32)
    optimizer = case.make(params, backend="eager")
    set_gradients(params, 0)
    optimizer.step()
    set_gradients(params, 1)
    if bad is not None:
        for param in params:
            assert param.grad is not None
            param.grad.view(-1)[0] = bad
    group = optimizer.param_groups[0]
    values = {**group, "beta1": 0.9, "beta2": 0.999}
    rule = optimizer.rule(group)
    [run] = dispatch.update_passes(rule, updates_of(optimizer, params), "nearest", DEVICE, "triton")
    return Prepared(run, params, optimizer, rule.coefficients(2.0, values), values)


KINDS = [OptimizerCase("Adam"), OptimizerCase("LAMB", {"weight_decay": 0.1})]


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30], ids=str)
@pytest.mark.parametrize("case", KINDS, ids=str)
def test_a_refusal_on_the_device_changes_nothing(case: OptimizerCase, bad: float) -> None:
    step = prepared(case, bad)
    before = step.snapshot()
    step.run.apply(step.coefficients, (), step.values, Verdict(torch.tensor(False, device=DEVICE)), 0.5)
    assert same(step.snapshot(), before)
    step.run.apply(step.coefficients, (), step.values, Verdict(torch.tensor(True, device=DEVICE)), None)
    assert not same(step.snapshot(), before)


@pytest.mark.parametrize("case", KINDS, ids=str)
def test_scalars_on_the_device_give_the_same_as_on_the_host(case: OptimizerCase) -> None:
    def results(wrap: Any) -> list[torch.Tensor]:
        step = prepared(case)
        transforms: list[Transform] = [Scale(wrap(0.5)), Clamp(0.25), Scale(wrap(0.5)), Scale(wrap(0.7))]
        coefficients = {name: wrap(value) for name, value in step.coefficients.items()}
        values = {**step.values, "lr": wrap(step.values["lr"])}
        step.run.apply(coefficients, transforms, values, Verdict(True), 0.5)
        return step.snapshot()

    assert same(results(float), results(lambda value: torch.tensor(value, dtype=torch.float64, device=DEVICE)))


def test_a_factor_below_the_smallest_float32_is_exact() -> None:
    """Clip a gradient of 1e38 to a norm of 1e-3: in one float32 number, the factor would keep only three digits."""
    results = []
    for backend in ("triton", "eager"):
        param = torch.zeros(4, device=DEVICE, requires_grad=True)
        param.grad = torch.full((4,), 1e38, device=DEVICE)
        optimizer = steadystep.SGD([param], lr=1.0, clip=1e-3, backend=backend)
        optimizer.step()
        results.append(param.detach())
    torch.testing.assert_close(results[0], torch.full((4,), -5e-4, device=DEVICE), rtol=FEW_ULP, atol=0)
    torch.testing.assert_close(results[0], results[1], rtol=FEW_ULP, atol=0)


SIZES = (1, BLOCK - 1, BLOCK, BLOCK + 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7)


def measured(gradients: list[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    params = [torch.empty_like(gradient).requires_grad_() for gradient in gradients]
    for param, gradient in zip(params, gradients, strict=True):
        param.grad = gradient
    measured_norms = dispatch.measure(gather_gradients([{"params": params}], "test"), (), "triton")
    return np.array(measured_norms.norms.tolist()), np.array(measured_norms.abs_max.tolist())


NORMAL_HUGE_TINY = [
    (torch.float64, (1.0, 1e200, 1e-300)),
    (torch.float32, (1.0, 1e38, 1e-44)),
    (torch.bfloat16, (1.0, 1e38, 1e-39)),
    (torch.float16, (1.0, 6e4, 1e-7)),
]


@pytest.mark.parametrize(("dtype", "size"), [(kind, size) for kind, sizes in NORMAL_HUGE_TINY for size in sizes])
def test_norms_and_peaks(dtype: torch.dtype, size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    values = [2 * size * (torch.rand(n, generator=generator, dtype=torch.float64) - 0.5) for n in SIZES]
    gradients = [x.to(DEVICE, dtype) for x in values]
    norms, peaks = measured(gradients)
    for gradient, norm, peak in zip(gradients, norms, peaks, strict=True):
        exact = gradient.double().cpu().numpy().astype(np.longdouble)
        np.testing.assert_allclose(norm, float(np.sqrt((exact**2).sum())), rtol=1e-14)
        assert peak == float(np.abs(exact).max())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_non_finite_element_is_detected(dtype: torch.dtype, bad: float) -> None:
    gradients = [torch.ones(n, dtype=dtype, device=DEVICE) for n in SIZES]
    for gradient in gradients[1:]:
        gradient[len(gradient) // 2] = bad
    norms, peaks = measured(gradients)
    assert norms[0] == peaks[0] == 1.0
    np.testing.assert_equal(peaks[1:], abs(bad))
    np.testing.assert_equal(norms[1:], abs(bad))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_norms_do_not_depend_on_the_other_tensors(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(n, generator=generator, dtype=dtype).to(DEVICE) for n in SIZES]
    norms, _ = measured(gradients)
    reverse, _ = measured(gradients[::-1])
    np.testing.assert_array_equal(norms, reverse[::-1])


def test_tensors_of_any_layout() -> None:
    """Test a channels_last tensor with a gradient of different strides, a transposed tensor, and an unaligned one."""
    results = []
    for backend in ("triton", "eager"):
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(2, 3, 4, 5, generator=generator).to(DEVICE, memory_format=torch.channels_last)
        transposed = torch.randn(7, 6, generator=generator).to(DEVICE).t()
        unaligned = torch.randn(40, generator=generator).to(DEVICE)[1:]
        params = [param.requires_grad_() for param in (image, transposed, unaligned)]
        optimizer = steadystep.Adam(params, lr=0.1, clip=1.0, backend=backend)
        for _ in range(2):
            for param in params:
                param.grad = torch.randn(param.shape, generator=generator).to(DEVICE)
            optimizer.step()
        results.append([param.detach() for param in params])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=FEW_ULP, atol=FEW_ULP / 16)


HALF = 0.5


def halved(x: Any) -> Any:
    """Return half of x; this is the helper that a rule calls."""
    return HALF * x


def rule_with_helper(g: Any, p: Any, m: Any, *, lr: Any) -> Any:
    """Apply a rule that has a docstring, calls a helper, and uses a constant of its module."""
    m = maximum(halved(m) + halved(abs(g)), 0.0)
    return p - lr * g / (m + 1.0), m


def test_a_rule_may_call_other_functions() -> None:
    rule = Rule(rule_with_helper, lambda t, lr: (lr,), ("m",), "coupled")
    values = {"maximize": False, "weight_decay": 0.1, "lr": 0.1, "rounding": "nearest"}
    results = []
    for backend in ("triton", "eager"):
        generator = torch.Generator().manual_seed(0)
        g, p, m = (torch.randn(50, generator=generator, dtype=torch.float64).to(DEVICE) for _ in range(3))
        [run] = dispatch.update_passes(
            rule, [Update(0, GradientSet(gradients=[g]), p, [m], p)], "nearest", DEVICE, backend
        )
        run.apply(rule.coefficients(1.0, values), (), values, Verdict(True), None)
        results.append((p, m))
    torch.testing.assert_close(results[0], results[1], rtol=1e-14, atol=1e-15)


def test_an_unsupported_option_is_refused_with_the_reason() -> None:
    param = torch.ones(3, dtype=torch.bfloat16, device=DEVICE, requires_grad=True)
    param.grad = torch.ones_like(param)
    optimizer = steadystep.SGD([param], backend="triton", rounding="kahan")
    with pytest.raises(ValueError, match=r"backend='triton' cannot update .* with rounding='kahan'"):
        optimizer.step()


def test_triton_runs_on_a_cpu_only_in_its_interpreter() -> None:
    code = """
import steadystep, torch
weight = torch.ones(1, requires_grad=True)
weight.grad = torch.ones(1)
try:
    steadystep.SGD([weight], backend="triton").step()
except ValueError as error:
    print(error)
"""
    output = run_without_interpreter("-c", code)
    assert (
        "backend='triton' cannot update a parameter of shape (1,) on the CPU" in output
        and "TRITON_INTERPRET=1" in output
    )


HERE = Path(__file__).parent


def run_without_interpreter(*arguments: str, **variables: str) -> str:
    path = os.pathsep.join([str(HERE.parent), *sys.path])
    environment = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": path, **variables}
    result = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def compiled(home: Path, *arguments: str) -> dict[str, dict[str, int]]:
    """Return the output of compile_for_cuda.py when it runs with an empty cache."""
    output = run_without_interpreter(str(HERE / "compile_for_cuda.py"), *arguments, TRITON_CACHE_DIR=str(home))
    return json.loads(output)


def assert_exact(kernels: Mapping[str, Mapping[str, int]]) -> None:
    """Check that the machine code rounds as IEEE 754 requires and computes in a deterministic order."""
    for name, counts in kernels.items():
        assert counts["bytes"] > 0, name
        # A scalar kernel may compute a power: NVIDIA's function fuses, and compares halves of numbers as float32.
        never = ("approximate", "atomic", *(() if " decide " in name else ("fused", "flushing")))
        assert {counts[what] for what in never} == {0}, (name, counts)


def test_adam_compiles_for_cuda(tmp_path: Path) -> None:
    kernels = compiled(tmp_path, "90", "float32", "--adam")
    assert_exact(kernels)
    # Each of g, p, m and v: 8 elements per thread, 4 per load.
    assert kernels["float32 adam.update update"]["wide"] == 8
    assert "float32 decide Adam lr=0.01" in kernels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("capability", "types"),
    [("80", ("float32", "bfloat16")), ("90", ("float64", "float32", "bfloat16", "float16"))],
)
def test_every_rule_compiles_for_cuda(tmp_path: Path, capability: str, types: Sequence[str]) -> None:
    kernels = compiled(tmp_path, capability, *types)
    assert_exact(kernels)
    rules = {name.split()[1] for name in kernels if name.endswith(" update")}
    assert len(rules) == len({Equation(rule.update, rule.sums, len(rule.slots)) for rule in every_rule()})
    decisions = [name for name in kernels if " decide " in name]
    assert len(decisions) == len(OPTIMIZERS)
    assert len(kernels) - len(decisions) == len(types) * (
        3 + 4 * len(rules) + len([rule for rule in rules if rule in rules_with_sums()])
    )


def rules_with_sums() -> set[str]:
    """Return the names of the rules that need sums over a tensor, as compile_for_cuda.py names them."""
    updates = [rule.update for rule in every_rule() if rule.sums is not None]
    return {f"{update.__module__.rpartition('.')[2]}.{update.__name__}" for update in updates}


def every_rule() -> list[Rule]:
    made = [case.make([torch.zeros(1, requires_grad=True)]) for case in OPTIMIZERS]
    return [optimizer.rule(optimizer.param_groups[0]) for optimizer in made]


@pytest.mark.skipif(DEVICE.type != "cuda", reason="needs a CUDA device to capture a CUDA graph")
@pytest.mark.parametrize("case", [*KINDS, OptimizerCase("NAdam"), OptimizerCase("RAdam")], ids=str)
def test_a_cuda_graph_of_a_step_is_replayed(case: OptimizerCase) -> None:
    """Replays read the current gradients, skip NaNs as a normal step does, and may be interleaved with normal steps."""
    ours, undisturbed = parameters(torch.float32), parameters(torch.float32)
    optimizer, reference = case.make(ours, clip=1.0), case.make(undisturbed, clip=1.0)
    for param in (*ours, *undisturbed):
        param.grad = torch.empty_like(param)
    fixed = [param.grad for param in ours if param.grad is not None]

    def fill(step: int) -> None:
        generator = torch.Generator(DEVICE).manual_seed(step)
        for target, param in zip(fixed, undisturbed, strict=True):
            assert param.grad is not None
            target.normal_(generator=generator)
            if step == 5:
                target.fill_(math.nan)
            param.grad.copy_(target)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for step in range(2):
            fill(step)
            optimizer.step()
            reference.step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    for step in range(2, 8):
        fill(step)
        if step == 6:
            for param, target in zip(ours, fixed, strict=True):
                param.grad = target.clone()
            optimizer.step()
        else:
            graph.replay()
        reference.step()
        assert same(snapshot(optimizer, ours), snapshot(reference, undisturbed))
    assert optimizer.ledger["skipped_nonfinite"] == 1
