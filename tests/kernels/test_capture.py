"""Steps captured as a graph of scalars: what the graph computes, when it is replayed, and when it is captured again."""

import math
import operator
import os
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import steadystep
from cases import CLIPPERS, OPTIMIZERS, ClipperCase, OptimizerCase
from steadystep.kernels.capture import Capture
from steadystep.kernels.cuda.availability import why_unavailable
from steadystep.memory.fingerprint import addresses_of
from steadystep.step.guarded_step import Policy
from steadystep.tracing import ops
from steadystep.tracing.graph import Graph, Untraceable

CPU = torch.device("cpu")
TRITON = CPU if os.environ.get("TRITON_INTERPRET") == "1" else torch.device("cuda")
NO_TRITON = why_unavailable(TRITON) if find_spec("triton") else "without being installed"
BACKENDS = [
    "numba",
    pytest.param("triton", marks=pytest.mark.skipif(bool(NO_TRITON), reason=f"Triton does not run {NO_TRITON}")),
]

Number = Any


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):  # the interpreter computes in NumPy, and it computes both branches of a choice
        yield


def device(backend: str) -> torch.device:
    return TRITON if backend == "triton" else CPU


def run(graph: Graph, backend: str) -> None:
    if backend == "numba":
        from steadystep.kernels.cpu.graph_kernel import GraphProgram

        GraphProgram(graph).run(addresses_of(graph.tensors))
    else:
        from steadystep.kernels.cuda.graph_kernel import evaluate, kernel_of
        from steadystep.kernels.cuda.runtime import upload

        evaluate(graph, kernel_of(graph), upload(graph.arguments(), TRITON))


def computed(backend: str, expression: Callable[..., Number], *inputs: Any) -> Any:
    """Return what the kernel computes for an expression over vectors and numbers in memory."""
    graph = Graph()
    tensors = [torch.as_tensor(value, dtype=torch.float64).to(device(backend)) for value in inputs]
    result = expression(*map(graph.load_all, tensors))
    shape = (graph.length,) if result.is_vector else ()
    place = torch.full(shape, math.nan, dtype=torch.float64, device=device(backend))
    graph.store(place, result, -place.dim())
    run(graph, backend)
    return place.cpu().numpy()


VECTOR = [3.0, -4.0, 0.0, 12.0, 1e-200]
EXPRESSIONS: dict[str, Callable[..., Number]] = {
    "arithmetic": lambda x, a: (1 - x) * 2.5 + a / (x * x + 1) - (a - x) / 3,
    "powers": lambda x, a: 0.999**a + 0.5 ** (x * 0.1) + 0.0**a,
    "minus": lambda x, a: -x + abs(x),
    "sqrt": lambda x, a: ops.sqrt(x * x + a),
    "bounds": lambda x, a: ops.minimum(x, a) + ops.maximum(1.0, x) + ops.minimum(2.0, a),
    "where": lambda x, a: ops.where(x > a, x, 7.0) + ops.where(a <= 2, 1.0, ops.where(x == 0, a, x)),
    "truth": lambda x, a: ((x < 1) & (x >= 0)) + ((x == 0) | (a > 100)) * 2.0 + 4.0 * ((x == 3) & (a > 1)),
    "with host": lambda x, a: ops.where((x > 0) & True, 1.0, 0.0) + ops.where((x > 0) | True, 1.0, 0.0),
    "of numpy": lambda x, a: np.float64(2.0) * x + x / np.float64(4.0),
    "isfinite": lambda x, a: ops.isfinite(1 / x) + 2.0 * ops.isnan(0.0 / x),
    "norm": lambda x, a: ops.norm(x) + a,
    "norm of huge": lambda x, a: ops.norm(x * 1e200),
    "norm of tiny": lambda x, a: ops.norm(x * 1e-200),
    "largest": lambda x, a: ops.largest(abs(x)),
    "largest of NaN": lambda x, a: ops.largest(abs(x / x)),
    "every": lambda x, a: ops.every(x < 100) + 2.0 * (x > 100).any() + 4.0 * ops.every(x > 0),
}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_a_graph_computes_what_numpy_does(expression: Callable[..., Number], backend: str) -> None:
    want = expression(np.array(VECTOR), np.float64(5.0))
    got = computed(backend, expression, VECTOR, 5.0)
    np.testing.assert_allclose(got, np.asarray(want, np.float64), rtol=4e-15)


OPERATIONS = (operator.add, operator.sub, operator.mul, operator.truediv, ops.minimum, ops.maximum)
Tree = st.recursive(
    st.sampled_from(["x", "a"]) | st.floats(-1e3, 1e3),
    lambda inner: st.tuples(st.sampled_from(OPERATIONS), inner, inner),
    max_leaves=12,
)


def evaluated(tree: Any, x: Number, a: Number) -> Number:
    if isinstance(tree, tuple):
        return tree[0](evaluated(tree[1], x, a), evaluated(tree[2], x, a))
    return {"x": x, "a": a}[tree] if isinstance(tree, str) else tree


@pytest.mark.parametrize("backend", BACKENDS)
@given(tree=Tree)
def test_any_graph_computes_what_numpy_does(tree: Any, backend: str) -> None:
    def expression(x: Number, a: Number) -> Number:
        return evaluated((operator.add, (operator.mul, "x", 0.0), tree), x, a)

    with np.errstate(all="ignore"):  # Hypothesis does not run fixtures for each example
        try:
            want = expression(np.array(VECTOR), np.float64(5.0))
        except ZeroDivisionError:  # a division of two Python numbers
            return
        np.testing.assert_array_equal(computed(backend, expression, VECTOR, 5.0), want)


def test_a_load_after_a_store_returns_the_stored_value() -> None:
    graph, place = Graph(), torch.tensor([1.0, 2.0])
    before = graph.load(place, 1)
    graph.store(place, before + 1.0, 1)
    assert graph.load(place, 1) is not before
    assert graph.load(place, 1) is graph.load(place, 1)


def test_all_vectors_of_a_graph_have_the_same_length() -> None:
    """A first vector of one entry is not broadcast, because the kernel would read beyond its end."""
    graph = Graph()
    graph.load_all(torch.ones(1))
    with pytest.raises(Untraceable, match=r"shape \(3,\) among vectors of 1"):
        graph.load_all(torch.ones(3))


@pytest.mark.parametrize(
    "ask",
    [bool, float, len, list, lambda x: x[0], lambda x: x**2, lambda x: x.item(), torch.sqrt, np.asarray,
     math.sqrt, lambda x: ops.quantile(x, 0.5), lambda x: ops.put(x, 0, 1.0), lambda x: x % 2,
     lambda x: torch.ones(2) * x],
)  # fmt: skip
def test_a_node_has_no_value_while_tracing(ask: Callable[[Any], Any]) -> None:
    with pytest.raises(Untraceable):
        ask(Graph().load(torch.ones(2)))


def test_numbers_are_loaded_and_stored_in_their_dtype(backend: str) -> None:
    graph, on = Graph(), device(backend)
    half, truth = torch.tensor([0.1, 0.3], device=on), torch.tensor([True, False], device=on)
    counts = torch.zeros(3, dtype=torch.float64, device=on)
    graph.store(counts, graph.load(half, 1) + graph.load(truth, 0), 2)
    graph.store(half, graph.load(half, 0) * 3.0, 1)
    graph.store(truth, graph.load(half, 0) < 1.0, 1)
    run(graph, backend)
    assert counts.tolist() == [0.0, 0.0, float(np.float32(0.3)) + 1.0]
    assert half.tolist() == np.array([0.1, float(np.float32(0.1)) * 3.0], np.float32).tolist()
    assert truth.tolist() == [True, True]


def parameters(backend: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((5, 10), (3,), ())]
    return [tensor.to(device(backend)).requires_grad_() for tensor in made]


def step(optimizer: torch.optim.Optimizer, params: list[torch.Tensor], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator, dtype=torch.float64).to(param.device)
    optimizer.step()


def captured_step(optimizer: steadystep.Optimizer) -> Capture | None:
    """Return the captured step that the optimizer replays, or None if its steps are not captured."""
    assert optimizer._plan is not None
    return optimizer._plan.captured and optimizer._plan.captured.capture


@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_every_optimizer_is_captured(case: OptimizerCase, backend: str) -> None:
    params = parameters(backend)
    optimizer = case.make(params, clip=1.0, backend=backend)
    for number in range(3):
        step(optimizer, params, number)
    assert captured_step(optimizer)


NOT_CAPTURED = {
    "ClipNorm": "scope='group'",  # a graph cannot select the entries of a group
    "ClipValue": "", "AGC": "", "ClipUpdate": "",  # they measure norms again, or other norms
    "AutoClip": "", "SkipOutlier": "",  # quantiles
}  # fmt: skip


@pytest.mark.parametrize("clipper", CLIPPERS, ids=str)
def test_which_clippers_are_captured(clipper: ClipperCase, backend: str) -> None:
    params = parameters(backend)
    optimizer = steadystep.Adam(params, clip=clipper.make(), backend=backend)
    for number in range(3):
        step(optimizer, params, number)
    texts = [NOT_CAPTURED.get(type(one).__name__) for one in optimizer.clip]
    never = any(text is not None and text in str(one) for text, one in zip(texts, optimizer.clip, strict=True))
    assert bool(captured_step(optimizer)) == (not never)


def raised_lr(optimizer: steadystep.Optimizer) -> None:
    optimizer.param_groups[0]["lr"] *= 3.0


def filled_lr(optimizer: steadystep.Optimizer) -> None:
    optimizer.param_groups[0]["lr"].fill_(0.3)


def other_betas(optimizer: steadystep.Optimizer) -> None:
    optimizer.param_groups[0]["betas"] = (0.5, 0.9)


def other_decay(optimizer: steadystep.Optimizer) -> None:
    optimizer.param_groups[0]["weight_decay"] = 0.5


def other_clip(optimizer: steadystep.Optimizer) -> None:
    optimizer.clip = 0.01


def other_policy(optimizer: steadystep.Optimizer) -> None:
    optimizer.policy = Policy("propagate")


def reloaded(optimizer: steadystep.Optimizer) -> None:
    optimizer.load_state_dict(optimizer.state_dict())


def moved(optimizer: steadystep.Optimizer) -> None:
    for param in optimizer.param_groups[0]["params"]:
        param.data = param.data.clone()


def blank_ledger(optimizer: steadystep.Optimizer) -> None:
    optimizer.param_groups[0]["ledger"] = optimizer.param_groups[0]["ledger"] * 0.0


CHANGES = (raised_lr, other_betas, other_decay, other_clip, other_policy, reloaded, moved, blank_ledger)


@pytest.mark.parametrize("change", [*CHANGES, filled_lr], ids=lambda change: change.__name__)
def test_a_change_between_steps_takes_effect(change: Callable[[steadystep.Optimizer], None], backend: str) -> None:
    results = []
    for name in (backend, "eager"):
        lr: Any = 0.1 if change is not filled_lr else torch.tensor(0.1, dtype=torch.float64)
        params = parameters(backend)
        optimizer = steadystep.AdamW(params, lr=lr, clip=1.0, backend=name)
        for number in range(4):
            step(optimizer, params, number)
        change(optimizer)
        for number in range(4, 8):
            step(optimizer, params, number)
        results.append(([param.detach() for param in params], optimizer.ledger))
        if name != "eager" and change is not filled_lr:
            assert captured_step(optimizer)
    (ours, our_ledger), (reference, their_ledger) = results
    torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-14)
    for by_name in ("norms", "update_norms"):
        assert our_ledger.pop(by_name) == pytest.approx(their_ledger.pop(by_name), rel=1e-9)
    for exact in ("first_skip", "last_skip", "faults"):
        assert our_ledger.pop(exact) == their_ledger.pop(exact)
    assert our_ledger == pytest.approx(their_ledger, rel=1e-12)


@pytest.mark.skipif(
    TRITON.type != "cuda" or bool(NO_TRITON),
    reason="needs a CUDA device: a tensor on a CPU is read when the step is captured",
)
def test_a_learning_rate_on_the_device_is_read_in_every_replay() -> None:
    """A replayed step uses the current value of the tensor."""
    lr = torch.tensor(0.1, dtype=torch.float64, device=TRITON)
    params = parameters("triton")
    optimizer = steadystep.SGD(params, lr=lr, backend="triton")
    step(optimizer, params, 0)
    first = captured_step(optimizer)
    before = params[0].detach().clone()
    lr.zero_()
    step(optimizer, params, 1)
    assert first and captured_step(optimizer) is first
    assert torch.equal(params[0], before)


def test_a_scheduled_learning_rate_needs_no_new_capture(backend: str) -> None:
    params = parameters(backend)
    optimizer = steadystep.AdamW(params, lr=0.1, weight_decay=0.1, clip=1.0, backend=backend)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    captures = []
    for number in range(6):
        step(optimizer, params, number)
        scheduler.step()
        captures.append(captured_step(optimizer))
    assert captures[2] and captures[2] is captures[5]


def test_a_gradient_with_other_strides_is_not_replayed(backend: str) -> None:
    results = []
    for name in (backend, "eager"):
        params = parameters(backend)
        optimizer = steadystep.Adam(params, clip=1.0, backend=name)
        for number in range(3):
            step(optimizer, params, number)
        before = optimizer._plan
        for param in params:
            param.grad = (
                torch.ones(param.shape[::-1], dtype=param.dtype, device=param.device).cumsum(0).t()
                if param.dim() == 2
                else torch.ones_like(param)
            )
        optimizer.step()
        assert optimizer._plan is not before and not captured_step(optimizer)
        step(optimizer, params, 4)
        results.append([param.detach() for param in params])
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)


def test_consecutive_refusals_are_counted(backend: str) -> None:
    params = parameters(backend)
    optimizer = steadystep.Adam(params, backend=backend, max_consecutive_skips=4)
    with pytest.raises(steadystep.TooManySkipsError):
        for _ in range(7):
            for param in params:
                param.grad = torch.full_like(param, math.nan)
            optimizer.step()
            if params[0].is_cuda:
                torch.cuda.synchronize()  # a step does not wait until the count is on the host
    assert captured_step(optimizer)
    assert optimizer.ledger["applied"] == 0


def trained(
    make: Callable[[list[torch.Tensor]], steadystep.Optimizer], steps: int = 12
) -> tuple[list[torch.Tensor], dict[str, Any], steadystep.Optimizer]:
    """Return the parameters and the ledger after steps with a NaN, an outlier and a change of the learning rate."""
    params = parameters("numba")
    optimizer = make(params)
    for number in range(steps):
        generator = torch.Generator().manual_seed(number)
        for param in params:
            gradient = torch.randn(param.shape, generator=generator, dtype=torch.float64)
            param.grad = gradient * (100.0 if number == 8 else math.nan if number == 5 else 1.0)
        if number == 7:
            optimizer.param_groups[0]["lr"] *= 0.3
        optimizer.step()
    return [param.detach() for param in params], optimizer.ledger, optimizer


MADE: dict[str, Callable[[list[torch.Tensor]], steadystep.Optimizer]] = {
    **{str(case): partial(case.make, clip=1.0) for case in OPTIMIZERS},
    **{f"Adam {case}": lambda params, case=case: steadystep.Adam(params, clip=case.make()) for case in CLIPPERS},
    "Adam unclipped": steadystep.Adam,
    "tiny factor": lambda params: steadystep.SGD(params, clip=1e-40),
    "two clippers": lambda params: steadystep.Adam(params, clip=[steadystep.ZClip(), 0.5]),
    "coupled decay": lambda params: steadystep.Adam(params, weight_decay=0.1, clip=1.0),
    "propagate": lambda params: steadystep.Adam(params, clip=1.0, nonfinite="propagate"),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_captured_step_on_a_cpu_is_bitwise_the_same(
    make: Callable[[list[torch.Tensor]], steadystep.Optimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first steps of a resumed run are not captured, yet it must continue exactly like an uninterrupted one."""
    from steadystep.kernels.cpu.capture import CPUCapturedStep

    ours, ledger, _ = trained(make)
    monkeypatch.setattr(CPUCapturedStep, "should_capture", lambda *_: False)
    plain, their_ledger, optimizer = trained(make)
    assert not captured_step(optimizer)
    for mine, theirs in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    np.testing.assert_equal(ledger, their_ledger)


def test_steps_with_a_grad_scaler_share_a_capture_and_use_its_scale(backend: str) -> None:
    results = []
    for name in (backend, "eager"):
        params = parameters(backend)
        optimizer = steadystep.Adam(params, lr=0.1, clip=1.0, backend=name)
        captures = []
        scaler = torch.amp.GradScaler(params[0].device.type, init_scale=2.0**20, growth_interval=3)
        for number in range(10):
            generator = torch.Generator().manual_seed(number)
            loss = torch.zeros((), dtype=torch.float64, device=params[0].device)
            for param in params:
                gradient = torch.randn(param.shape, generator=generator, dtype=torch.float64).to(param.device)
                loss = loss + (param * gradient).sum() * (math.inf if number == 4 else 1.0)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            captures.append(captured_step(optimizer))
        assert scaler.get_scale() == 2.0**21  # doubled twice after three steps each, halved once
        ledger = optimizer.ledger
        assert (ledger["applied"], ledger["skipped_nonfinite"]) == (9, 1)
        results.append([param.detach() for param in params])
        if name != "eager":
            assert captures[2] and captures[2] is captures[9]
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)


def test_a_step_whose_options_change_every_time_is_not_captured_on_a_cpu() -> None:
    """OneCycleLR also changes beta1 in every step, and capturing a step takes longer than running it uncaptured."""
    params = parameters("numba")
    optimizer = steadystep.Adam(params, lr=0.1, clip=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)
    for number in range(8):
        step(optimizer, params, number)
        scheduler.step()
        assert captured_step(optimizer) is None


def test_gradients_are_released_after_a_step_that_changes_the_rule(backend: str) -> None:
    """Between steps the memory of the gradients is the user's, also when the step needed a new plan."""
    params = parameters(backend)
    optimizer = steadystep.Adam(params, clip=1.0, backend=backend)
    for number in range(4):
        optimizer.param_groups[0]["amsgrad"] = number == 2
        step(optimizer, params, number)
        assert optimizer._plan is not None
        assert optimizer._plan.gradients.gradients == []


class Annealed(steadystep.ClipNorm):
    """A clipper that decides by something that no capture can see."""

    bound = 1.0

    def decide(self, measured: Any, memory: Any) -> Any:
        return steadystep.ClipNorm(self.bound).decide(measured, memory)


def test_a_clipper_of_a_class_that_may_change_is_asked_in_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    param = torch.zeros(1, requires_grad=True)
    optimizer = steadystep.SGD([param], lr=1.0, clip=Annealed(1.0))
    moves = []
    for bound in (1.0, 1.0, 1.0, 0.5):
        monkeypatch.setattr(Annealed, "bound", bound)
        before = param.item()
        param.grad = torch.tensor([10.0])
        optimizer.step()
        moves.append(before - param.item())
    assert moves == [1.0, 1.0, 1.0, 0.5]
