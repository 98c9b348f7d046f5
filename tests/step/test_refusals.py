"""What is known of refused steps: errors carry it as data, the ledger counts it, and a message says what to do."""

import copy
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import steadystep
from cases import OPTIMIZERS, OptimizerCase

SHAPES = {"one": (5, 3), "two": (3,), "three": (2, 2)}
STEPS = 6
every_case = pytest.mark.parametrize("case", OPTIMIZERS, ids=str)
backends = pytest.mark.parametrize("backend", ["numba", "eager"])
Make = Callable[..., Any]


def named_parameters() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator).requires_grad_() for name, shape in SHAPES.items()}


def set_gradients(params: dict[str, torch.Tensor], seed: int, size: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for param in params.values():
        param.grad = size * torch.randn(param.shape, generator=generator)


def spoil(params: dict[str, torch.Tensor], name: str, value: float) -> None:
    gradient = params[name].grad
    assert gradient is not None
    gradient.view(-1)[-1] = value


def norms_of(params: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(param.grad.double().norm()) for name, param in params.items() if param.grad is not None}


def adam(params: dict[str, torch.Tensor], **options: Any) -> Any:
    return steadystep.Adam(list(params.items()), lr=1e-3, **options)


def guarded(params: dict[str, torch.Tensor], **options: Any) -> Any:
    return steadystep.guard(torch.optim.Adam(list(params.items()), lr=1e-3), **options)


both = pytest.mark.parametrize("make", [adam, guarded])


def check_error(make: Make, value: float, reason: str) -> None:
    params = named_parameters()
    optimizer = make(params, nonfinite="raise")
    for step in range(STEPS):
        set_gradients(params, step)
        optimizer.step()
    set_gradients(params, 99)
    spoil(params, "two", value)
    with pytest.raises(steadystep.NonFiniteGradientError) as raised:
        optimizer.step()
    error, ledger = raised.value, optimizer.ledger
    assert (error.step, error.tensors, error.reason) == (STEPS + 1, ("two",), reason)
    assert error.norms == pytest.approx(norms_of(params), rel=1e-6, nan_ok=True)
    assert "two" in error.problem and str(error) == f"{error.problem}. {error.looks_like}"
    assert (ledger["attempted"], ledger["applied"], ledger["skipped"]) == (STEPS + 1, STEPS, 1)
    assert ledger["first_skip"] == ledger["last_skip"] == {"step": STEPS + 1, "reason": reason}
    assert ledger["faults"] == {"two": 1}


@backends
@every_case
def test_an_error_knows_the_step_the_tensors_the_reason_and_the_norms(case: OptimizerCase, backend: str) -> None:
    check_error(lambda params, **more: case.make(list(params.items()), backend=backend, **more), math.nan, "nonfinite")


@both
@pytest.mark.parametrize(("value", "reason"), [(math.inf, "nonfinite"), (1e30, "overflow")])
def test_an_error_knows_the_reason(make: Make, value: float, reason: str) -> None:
    check_error(make, value, reason)


@both
@pytest.mark.parametrize("replayed", [False, True])
def test_too_many_skips_know_the_same(make: Make, replayed: bool) -> None:
    params = named_parameters()
    optimizer = make(params, max_consecutive_skips=2)
    for step in range(STEPS if replayed else 1):
        set_gradients(params, step)
        optimizer.step()
    applied = optimizer.ledger["applied"]
    set_gradients(params, 99)
    spoil(params, "three", -math.inf)
    for _ in range(2):
        optimizer.step()
    with pytest.raises(steadystep.TooManySkipsError, match=r"3 steps in a row .* not finite in three") as raised:
        optimizer.step()
    error = raised.value
    assert (error.step, error.tensors, error.reason) == (applied + 3, ("three",), "nonfinite")
    assert error.norms == pytest.approx(norms_of(params), rel=1e-6)
    assert optimizer.ledger["first_skip"] == {"step": applied + 1, "reason": "nonfinite"}
    assert optimizer.ledger["faults"] == {"three": 3}


def test_errors_can_be_pickled() -> None:
    params = named_parameters()
    optimizer = adam(params, nonfinite="raise")
    set_gradients(params, 0)
    spoil(params, "one", math.inf)
    with pytest.raises(steadystep.NonFiniteGradientError) as raised:
        optimizer.step()
    error = pickle.loads(pickle.dumps(raised.value))
    assert type(error) is steadystep.NonFiniteGradientError
    assert (str(error), vars(error)) == (str(raised.value), vars(raised.value))


@given(
    faults=st.lists(
        st.tuples(st.sets(st.sampled_from(sorted(SHAPES))), st.sampled_from(sorted(SHAPES)), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_faults_are_counted_whichever_tensors_step(faults: list[tuple[set[str], str, bool]]) -> None:
    """The tensors without a gradient change from step to step; the counts survive that, a copy and a checkpoint."""
    params = named_parameters()
    optimizer = adam(params, max_consecutive_skips=100)
    expected: dict[str, int] = {}
    skips: list[int] = []
    attempted = 0
    for step, (missing, culprit, is_bad) in enumerate(faults):
        set_gradients(params, step)
        for name in missing:
            params[name].grad = None
        if len(missing) == len(params):
            optimizer.step()
            continue
        attempted += 1
        if is_bad and culprit not in missing:
            spoil(params, culprit, math.nan)
            expected[culprit] = expected.get(culprit, 0) + 1
            skips.append(attempted)
        optimizer.step()
    loaded = adam(params)
    loaded.load_state_dict(optimizer.state_dict())
    for one in (optimizer, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer)), loaded):
        ledger = one.ledger
        assert ledger["faults"] == expected
        assert list(ledger["faults"].values()) == sorted(expected.values(), reverse=True)
        assert [ledger["first_skip"], ledger["last_skip"]] == [
            {"step": skips[place], "reason": "nonfinite"} if skips else None for place in (0, -1)
        ]


@backends
@every_case
def test_a_step_is_refused_for_its_loss(case: OptimizerCase, backend: str) -> None:
    params, undisturbed = named_parameters(), named_parameters()
    optimizer = case.make(list(params.items()), backend=backend)
    reference = case.make(list(undisturbed.items()), backend=backend)
    for step in range(STEPS):
        if step == 4:
            set_gradients(params, 99)
            before = [param.detach().clone() for param in params.values()]
            for loss in (torch.tensor(-math.inf), math.nan, torch.tensor([math.inf], requires_grad=True)):
                optimizer.step(loss=loss)
            assert all(map(torch.equal, params.values(), before))
        for some, one, loss in ((params, optimizer, torch.tensor(0.5)), (undisturbed, reference, None)):
            set_gradients(some, step)
            one.step(loss=loss)
    assert all(map(torch.equal, params.values(), undisturbed.values()))
    ledger = optimizer.ledger
    assert (ledger["applied"], ledger["skipped_loss"], ledger["skipped"], ledger["faults"]) == (STEPS, 3, 3, {})
    assert ledger["last_skip"] == {"step": 7, "reason": "loss"}


@both
def test_the_policy_decides_about_the_loss(make: Make) -> None:
    params = named_parameters()
    set_gradients(params, 0)
    optimizer = make(params, nonfinite="raise")
    with pytest.raises(steadystep.NonFiniteLossError, match="the loss is not finite, and the gradients are") as raised:
        optimizer.step(loss=-math.inf)
    assert (raised.value.step, raised.value.tensors, raised.value.reason) == (1, (), "loss")
    propagating = make(params, nonfinite="propagate")
    propagating.step(loss=-math.inf)
    assert propagating.ledger["applied"] == 1
    with pytest.raises(TypeError, match="loss is 'low': give the loss of this step"):
        make(params).step(loss="low")


def test_a_guarded_step_that_has_a_loss_gets_it() -> None:
    class WithLoss(torch.optim.SGD):
        seen: Any = None

        def step(self, closure: Any = None, *, loss: Any = None) -> Any:
            self.seen = loss
            return super().step(closure)

    params = named_parameters()
    optimizer: Any = steadystep.guard(WithLoss(list(params.items()), lr=0.1))
    set_gradients(params, 0)
    optimizer.step(loss=math.inf)
    assert (optimizer.seen, optimizer.ledger["applied"]) == (math.inf, 1)


def run_until_refused(sizes: list[float], bad: int, **options: Any) -> steadystep.TooManySkipsError:
    """Take steps with gradients of these sizes, then `bad` ones with a NaN; return the error of the last."""
    params = named_parameters()
    optimizer = adam(params, max_consecutive_skips=bad - 1, **options)
    for step, size in enumerate(sizes):
        set_gradients(params, step, size)
        optimizer.step()
    for _ in range(bad - 1):
        spoil_all(params, optimizer)
    with pytest.raises(steadystep.TooManySkipsError) as raised:
        spoil_all(params, optimizer)
    return raised.value


def spoil_all(params: dict[str, torch.Tensor], optimizer: Any) -> None:
    set_gradients(params, 7)
    spoil(params, "one", math.nan)
    optimizer.step()


ORDINARY = [1.0, 1.3, 0.8, 1.1, 0.9, 1.2, 0.7, 0.5]


@pytest.mark.parametrize(
    ("sizes", "bad", "looks_like"),
    [
        ([], 2, "No step has been applied so far: this looks like the initialisation, or like the data"),
        (ORDINARY, 5, "The 5 last steps were refused, .* ordinary norm .* looks like the data"),
        ([*ORDINARY, *(4.0**n for n in range(1, 8))], 2, "Norms grew from .* to .* over 7 steps: .* learning rate"),
    ],
    ids=["from the first step", "data", "growth"],
)
def test_a_message_says_which_kind_of_trouble_it_looks_like(sizes: list[float], bad: int, looks_like: str) -> None:
    error = run_until_refused(sizes, bad)
    assert re.search(looks_like, error.looks_like), error.looks_like
    assert "'A run that diverges'" in str(error)


def test_one_bad_batch_is_told_from_the_rest() -> None:
    params = named_parameters()
    optimizer = adam(params, nonfinite="raise")
    for step, size in enumerate(ORDINARY):
        set_gradients(params, step, size)
        optimizer.step()
    with pytest.raises(steadystep.NonFiniteGradientError, match=r"was ordinary, .*: this looks like this batch alone"):
        spoil_all(params, optimizer)


def test_a_taken_back_step_has_a_reason() -> None:
    """A float16 Adam whose eps rounds to 0 divides by 0."""
    param = torch.ones(2, dtype=torch.float16, requires_grad=True)
    optimizer: Any = steadystep.guard(
        torch.optim.Adam([param], eps=1e-9, foreach=False), undo=True, nonfinite="propagate"
    )
    param.grad = torch.zeros(2, dtype=torch.float16)
    optimizer.step()
    assert optimizer.ledger["last_skip"] == {"step": 1, "reason": "update"}


def test_steps_with_named_parameters_are_replayed_until_a_name_changes() -> None:
    params = named_parameters()
    optimizer = adam(params)
    for step in range(STEPS):
        set_gradients(params, step)
        optimizer.step()
    plan: Any = optimizer._plan
    assert plan.captured.capture is not None
    optimizer.param_groups[0]["param_names"][0] = "another"
    optimizer.step()
    assert list(optimizer.ledger["norms"]) == ["another", "two", "three"]
