"""Steps that are written down and run as one formula: what it computes, when it is used, when it is written anew."""

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
from steadystep.kernels.capture import Written
from steadystep.kernels.cuda.availability import obstacle
from steadystep.step.guarded_step import Policy
from steadystep.tracing import ops
from steadystep.tracing.graph import Graph, Untraceable, words

CPU = torch.device("cpu")
TRITON = CPU if os.environ.get("TRITON_INTERPRET") == "1" else torch.device("cuda")
NO_TRITON = obstacle(TRITON) if find_spec("triton") else "without being installed"
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
    with np.errstate(all="ignore"):  # the interpreter computes in NumPy, and both branches of a choice
        yield


def device(backend: str) -> torch.device:
    return TRITON if backend == "triton" else CPU


def run(formula: Graph, backend: str) -> None:
    if backend == "numba":
        from steadystep.kernels.cpu.graph_kernel import Program

        Program(formula).run()
    else:
        from steadystep.kernels.cuda.graph_kernel import decide
        from steadystep.kernels.cuda.runtime import upload

        decide(formula, upload(words(formula), TRITON))


def computed(backend: str, expression: Callable[..., Number], *given: Any) -> Any:
    """What the kernel makes of an expression over vectors and numbers in memory."""
    formula = Graph()
    tensors = [torch.as_tensor(value, dtype=torch.float64).to(device(backend)) for value in given]
    result = expression(*map(formula.vector, tensors))
    shape = (formula.length,) if result.is_vector else ()
    place = torch.full(shape, math.nan, dtype=torch.float64, device=device(backend))
    formula.store(place, result, -place.dim())
    run(formula, backend)
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
def test_a_formula_computes_what_numpy_does(expression: Callable[..., Number], backend: str) -> None:
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
def test_any_formula_computes_what_numpy_does(tree: Any, backend: str) -> None:
    def expression(x: Number, a: Number) -> Number:
        return evaluated((operator.add, (operator.mul, "x", 0.0), tree), x, a)

    with np.errstate(all="ignore"):  # Hypothesis does not run fixtures for each example
        try:
            want = expression(np.array(VECTOR), np.float64(5.0))
        except ZeroDivisionError:  # two of Python's own numbers
            return
        np.testing.assert_array_equal(computed(backend, expression, VECTOR, 5.0), want)


def test_what_is_stored_is_what_is_loaded_next() -> None:
    formula, place = Graph(), torch.tensor([1.0, 2.0])
    before = formula.loaded(place, 1)
    formula.store(place, before + 1.0, 1)
    assert formula.loaded(place, 1) is not before
    assert formula.loaded(place, 1) is formula.loaded(place, 1)


def test_vectors_of_one_formula_have_one_length() -> None:
    """Also where the first is of one entry: what lies behind it is no one's."""
    formula = Graph()
    formula.vector(torch.ones(1))
    with pytest.raises(Untraceable, match=r"shape \(3,\) among vectors of 1"):
        formula.vector(torch.ones(3))


@pytest.mark.parametrize(
    "ask",
    [bool, float, len, list, lambda x: x[0], lambda x: x**2, lambda x: x.item(), torch.sqrt, np.asarray,
     math.sqrt, lambda x: ops.quantile(x, 0.5), lambda x: ops.put(x, 0, 1.0), lambda x: x % 2,
     lambda x: torch.ones(2) * x],
)  # fmt: skip
def test_a_value_that_is_not_there_cannot_be_asked_for(ask: Callable[[Any], Any]) -> None:
    with pytest.raises(Untraceable):
        ask(Graph().loaded(torch.ones(2)))


def test_numbers_are_loaded_and_stored_as_what_they_are(backend: str) -> None:
    formula, on = Graph(), device(backend)
    half, truth = torch.tensor([0.1, 0.3], device=on), torch.tensor([True, False], device=on)
    counts = torch.zeros(3, dtype=torch.float64, device=on)
    formula.store(counts, formula.loaded(half, 1) + formula.loaded(truth, 0), 2)
    formula.store(half, formula.loaded(half, 0) * 3.0, 1)
    formula.store(truth, formula.loaded(half, 0) < 1.0, 1)
    run(formula, backend)
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


def written(optimizer: steadystep.Optimizer) -> Written | None:
    """The formula that is run again; None where steps are not deferred."""
    assert optimizer._plan is not None
    return optimizer._plan.deferral and optimizer._plan.deferral.written


@pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
def test_every_optimizer_is_deferred(case: OptimizerCase, backend: str) -> None:
    params = parameters(backend)
    optimizer = case.make(params, clip=1.0, backend=backend)
    for number in range(3):
        step(optimizer, params, number)
    assert written(optimizer)


NOT_DEFERRED = {
    "ClipNorm": "scope='group'",  # what of a vector is a group's
    "ClipValue": "", "AGC": "", "ClipUpdate": "",  # they measure again, or measure something else
    "AutoClip": "", "SkipOutlier": "",  # quantiles
}  # fmt: skip


@pytest.mark.parametrize("clipper", CLIPPERS, ids=str)
def test_which_clippers_are_deferred(clipper: ClipperCase, backend: str) -> None:
    params = parameters(backend)
    optimizer = steadystep.Adam(params, clip=clipper.make(), backend=backend)
    for number in range(3):
        step(optimizer, params, number)
    asks = [NOT_DEFERRED.get(type(one).__name__) for one in optimizer.clip]
    never = any(ask is not None and ask in str(one) for ask, one in zip(asks, optimizer.clip, strict=True))
    assert bool(written(optimizer)) == (not never)


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
def test_a_change_between_steps_is_followed(change: Callable[[steadystep.Optimizer], None], backend: str) -> None:
    found = []
    for name in (backend, "eager"):
        lr: Any = 0.1 if change is not filled_lr else torch.tensor(0.1, dtype=torch.float64)
        params = parameters(backend)
        optimizer = steadystep.AdamW(params, lr=lr, clip=1.0, backend=name)
        for number in range(4):
            step(optimizer, params, number)
        change(optimizer)
        for number in range(4, 8):
            step(optimizer, params, number)
        found.append(([param.detach() for param in params], optimizer.ledger))
        if name != "eager" and change is not filled_lr:
            assert written(optimizer)
    (ours, our_ledger), (reference, their_ledger) = found
    torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-14)
    norms = our_ledger.pop("norms"), their_ledger.pop("norms")
    assert our_ledger == pytest.approx(their_ledger, rel=1e-12)
    assert norms[0] == pytest.approx(norms[1], rel=1e-12)


@pytest.mark.skipif(
    TRITON.type != "cuda" or bool(NO_TRITON), reason="needs a CUDA device: a tensor on a CPU is read while writing"
)
def test_a_learning_rate_on_the_device_is_read_there() -> None:
    """A step that is not written down anew follows it."""
    lr = torch.tensor(0.1, dtype=torch.float64, device=TRITON)
    params = parameters("triton")
    optimizer = steadystep.SGD(params, lr=lr, backend="triton")
    step(optimizer, params, 0)
    first = written(optimizer)
    before = params[0].detach().clone()
    lr.zero_()
    step(optimizer, params, 1)
    assert first and written(optimizer) is first
    assert torch.equal(params[0], before)


def test_a_scheduled_learning_rate_needs_no_other_formula(backend: str) -> None:
    params = parameters(backend)
    optimizer = steadystep.AdamW(params, lr=0.1, weight_decay=0.1, clip=1.0, backend=backend)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    found = []
    for number in range(6):
        step(optimizer, params, number)
        scheduler.step()
        found.append(written(optimizer))
    assert found[2] and found[2] is found[5]


def test_a_gradient_in_another_order_is_not_deferred(backend: str) -> None:
    results = []
    for name in (backend, "eager"):
        params = parameters(backend)
        optimizer = steadystep.Adam(params, clip=1.0, backend=name)
        for number in range(3):
            step(optimizer, params, number)
        for param in params:
            param.grad = (
                torch.ones(param.shape[::-1], dtype=param.dtype, device=param.device).cumsum(0).t()
                if param.dim() == 2
                else torch.ones_like(param)
            )
        optimizer.step()
        step(optimizer, params, 4)
        results.append([param.detach() for param in params])
        if name != "eager":
            assert not written(optimizer)
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)


def test_refusals_in_a_row_are_noticed(backend: str) -> None:
    params = parameters(backend)
    optimizer = steadystep.Adam(params, backend=backend, max_consecutive_skips=4)
    with pytest.raises(steadystep.TooManySkipsError):
        for _ in range(7):
            for param in params:
                param.grad = torch.full_like(param, math.nan)
            optimizer.step()
            if params[0].is_cuda:
                torch.cuda.synchronize()  # a step does not wait for the count to reach the host
    assert written(optimizer)
    assert optimizer.ledger["applied"] == 0


def trained(
    make: Callable[[list[torch.Tensor]], steadystep.Optimizer], steps: int = 12
) -> tuple[list[torch.Tensor], dict[str, Any], steadystep.Optimizer]:
    """Parameters and ledger after steps with a NaN, an outlier, and another learning rate in between."""
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
def test_a_step_on_a_cpu_is_the_same_bit_for_bit_whether_it_is_deferred(
    make: Callable[[list[torch.Tensor]], steadystep.Optimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a run which is resumed, whose first steps are not, goes on as the one that was not interrupted."""
    from steadystep.kernels.cpu.capture import CPUCapturedStep

    ours, ledger, _ = trained(make)
    monkeypatch.setattr(CPUCapturedStep, "is_worth_it", lambda *_: False)
    plain, their_ledger, optimizer = trained(make)
    assert not written(optimizer)
    for mine, theirs in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    np.testing.assert_equal(ledger, their_ledger)


def test_steps_under_a_grad_scaler_share_a_formula_and_follow_its_scale(backend: str) -> None:
    results = []
    for name in (backend, "eager"):
        params = parameters(backend)
        optimizer = steadystep.Adam(params, lr=0.1, clip=1.0, backend=name)
        found = []
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
            found.append(written(optimizer))
        assert scaler.get_scale() == 2.0**21  # grown twice of three steps, halved once
        ledger = optimizer.ledger
        assert (ledger["applied"], ledger["skipped_nonfinite"]) == (9, 1)
        results.append([param.detach() for param in params])
        if name != "eager":
            assert found[2] and found[2] is found[9]
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)


def test_what_changes_at_every_step_is_not_written_down_on_a_cpu() -> None:
    """OneCycleLR turns beta1 as well: to write a formula takes longer than to do without one."""
    params = parameters("numba")
    optimizer = steadystep.Adam(params, lr=0.1, clip=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)
    for number in range(8):
        step(optimizer, params, number)
        scheduler.step()
        assert written(optimizer) is None
