"""What a guarded optimizer writes: nothing that is not finite without being told, and with `undo` nothing at all."""

import contextlib
import copy
import math
import warnings
from collections import deque
from typing import Any

import numpy as np
import pytest
import torch

import steadystep
from cases import CLIPPERS, ClipperCase

NAN_WRITERS = {
    # An eps that is 0 in the dtype of the parameters divides 0 by 0 where the gradient is 0.
    "float16 Adam": lambda params: torch.optim.Adam(params, lr=1e-3),
    "float16 Adam foreach": lambda params: torch.optim.Adam(params, lr=1e-3, foreach=True),
    "float16 AdamW": lambda params: torch.optim.AdamW(params, lr=1e-3),
    "float16 NAdam": lambda params: torch.optim.NAdam(params, lr=1e-3),
    "float16 RMSprop": lambda params: torch.optim.RMSprop(params, lr=1e-3),
    "float16 Adagrad": lambda params: torch.optim.Adagrad(params, lr=1e-3),
    "infinite lr": lambda params: torch.optim.SGD(params, lr=float("inf"), momentum=0.9),
    "overflow": lambda params: torch.optim.SGD(params, lr=1e30, weight_decay=1e30, momentum=0.9),
    "infinite weight decay": lambda params: torch.optim.AdamW(params, weight_decay=math.inf),
}


def parameters(dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in ((5, 3), (3,))]


def set_gradients(params: list[torch.Tensor], seed: int = 0, zero: bool = True) -> None:
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)
    if zero:
        params[0].grad[0] = 0.0  # type: ignore[index]


def everything(optimizer: Any, params: list[torch.Tensor]) -> str:
    """Return all that a step may change, but for the guard's own entries, as text that shows every bit."""
    torch.set_printoptions(precision=20, threshold=10**6)
    groups = [
        {key: value for key, value in group.items() if not key.startswith(("ledger", "clip."))}
        for group in optimizer.param_groups
    ]
    shown = str((params, [param.grad for param in params], dict(optimizer.state), groups))
    torch.set_printoptions(profile="default")
    return shown


def made(name: str, **options: Any) -> tuple[Any, list[torch.Tensor]]:
    params = parameters(torch.float16 if "float16" in name else torch.float32)
    return steadystep.guard(NAN_WRITERS[name](params), **options), params


def step_until_it_writes(optimizer: Any, params: list[torch.Tensor]) -> str:
    """Step until something is not finite, and return what there was before that step."""
    for step in range(4):
        set_gradients(params, 0 if step else 1)
        before = everything(optimizer, params)
        optimizer.step()
        if optimizer.ledger["nonfinite_updates"]:
            return before
    pytest.fail("nothing that is not finite was written")


@pytest.mark.parametrize("name", NAN_WRITERS)
def test_a_value_that_is_not_finite_is_counted_and_warned_of_once(name: str) -> None:
    optimizer, params = made(name, clip=1e4)
    with pytest.warns(UserWarning, match=r"not finite, to .*group 0, tensor 0.*undo=True.*eps") as caught:
        step_until_it_writes(optimizer, params)
    assert len(caught) == 1 and caught[0].filename == __file__
    ledger = optimizer.ledger
    assert ledger["nonfinite_updates"] == 1 and ledger["skipped"] == 0 and ledger["applied"] == ledger["attempted"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_gradients(params)
        optimizer.step()
    assert optimizer.ledger["nonfinite_updates"] == 2


@pytest.mark.parametrize("undo", [False, True])
@pytest.mark.parametrize("name", NAN_WRITERS)
def test_under_raise_the_tensor_is_named_at_that_step(name: str, undo: bool) -> None:
    optimizer, params = made(name, nonfinite="raise", undo=undo)
    with pytest.raises(steadystep.NonFiniteUpdateError, match="group 0, tensor 0, shape") as error:
        step_until_it_writes(optimizer, params)
    assert ("are as they were" in str(error.value)) == undo
    assert all(bool(torch.isfinite(param).all()) for param in params) or not undo
    assert optimizer.ledger["nonfinite_updates"] == 1


@pytest.mark.parametrize("nonfinite", ["skip", "propagate"])
@pytest.mark.parametrize("clip", [None, 1e4])
@pytest.mark.parametrize("name", NAN_WRITERS)
def test_undo_puts_everything_back_and_counts_a_skipped_step(name: str, clip: Any, nonfinite: Any) -> None:
    optimizer, params = made(name, clip=clip, undo=True, nonfinite=nonfinite, max_consecutive_skips=3)
    addresses = [param.data_ptr() for param in params]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = step_until_it_writes(optimizer, params)
        assert everything(optimizer, params) == before
        assert [param.data_ptr() for param in params] == addresses
        ledger = optimizer.ledger
        assert (ledger["skipped"], ledger["nonfinite_updates"], ledger["consecutive_skips"]) == (1, 1, 1)
        assert ledger["attempted"] == ledger["applied"] + 1
    with pytest.raises(steadystep.TooManySkipsError):
        for _ in range(3):
            optimizer.step()
    assert everything(optimizer, params) == before


@pytest.mark.parametrize(
    "case", [case for case in CLIPPERS if not isinstance(case.make(), steadystep.ClipUpdate)], ids=str
)
def test_a_step_that_is_undone_does_not_advance_the_statistics_of_a_clipper(case: ClipperCase) -> None:
    params = parameters(torch.float32)
    optimizer: Any = steadystep.guard(torch.optim.SGD(params, lr=0.1, momentum=0.9), clip=case.make(), undo=True)
    for step in range(10):
        set_gradients(params, step)
        optimizer.step()
    group = optimizer.param_groups[0]
    memory = copy.deepcopy({key: value for key, value in group.items() if key.startswith("clip.")})
    set_gradients(params, 10)
    group["lr"] = math.inf
    before = everything(optimizer, params)
    optimizer.step()
    assert everything(optimizer, params) == before
    assert str({key: value for key, value in group.items() if key.startswith("clip.")}) == str(memory)
    assert optimizer.ledger["nonfinite_updates"] == 1


class Counted(torch.optim.Optimizer):
    """Keeps state of every sort, and writes something not finite when `lr` is infinite."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.1, "d": 1.0})
        self.count, self.history, self.recent = 0, [], deque(maxlen=2)
        self.inner = torch.optim.SGD(self.param_groups[0]["params"], lr=0.1, momentum=0.9)
        self.scale = torch.ones(())
        self.array = np.zeros(2)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.count += 1
        self.history.append(self.count)
        self.recent.append(self.count)
        self.scale.mul_(0.5)
        self.array += 1
        self.late = self.count
        self.inner.step()
        for group in self.param_groups:
            group["d"] = group["d"] * group["lr"]
            for param in group["params"]:
                state = self.state[param]
                state.setdefault("moments", [torch.zeros_like(param), {"square": torch.zeros_like(param)}])
                state["steps"] = state.get("steps", 0) + 1
                state["moments"][0].add_(param.grad)
                state["moments"][1]["square"].add_(param.grad * group["lr"])
                if state["steps"] > 2:
                    state["moments"].append(torch.zeros(()))
                    param.data = param.data.clone()
        self.state["all"] = {"steps": self.count}  # type: ignore[index]


def all_of(optimizer: Any, params: list[torch.Tensor]) -> str:
    own = (optimizer.count, optimizer.history, optimizer.recent, optimizer.scale, optimizer.array)
    return str((everything(optimizer, params), own, dict(optimizer.inner.state), hasattr(optimizer, "late")))


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_undo_puts_back_state_of_every_sort(steps: int) -> None:
    params = parameters(torch.float32)
    optimizer: Any = steadystep.guard(Counted(params), clip=1.0, undo=True)
    for step in range(steps):
        set_gradients(params, step)
        optimizer.step()
    assert optimizer.ledger["nonfinite_updates"] == 0
    optimizer.param_groups[0]["lr"] = math.inf
    set_gradients(params, 9, zero=False)
    objects = [optimizer.state, optimizer.history, optimizer.scale, *params, *map(id, optimizer.state.values())]
    before, addresses = all_of(optimizer, params), [param.data_ptr() for param in params]
    optimizer.step()
    assert optimizer.ledger["nonfinite_updates"] == 1
    assert all_of(optimizer, params) == before
    after = [optimizer.state, optimizer.history, optimizer.scale, *params, *map(id, optimizer.state.values())]
    assert all(a is b or a == b for a, b in zip(objects, after, strict=True) if isinstance(a, int) or a is b)
    assert [param.data_ptr() for param in params] == addresses
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    assert optimizer.count == steps + 1


def test_state_and_options_that_are_not_finite_are_named() -> None:
    params = parameters(torch.float32)
    optimizer: Any = steadystep.guard(Counted(params), nonfinite="raise")
    optimizer.param_groups[0]["lr"] = math.inf  # the user's own infinity is not reported
    set_gradients(params, 0, zero=False)
    with pytest.raises(steadystep.NonFiniteUpdateError) as error:
        optimizer.step()
    assert "d of group 0" in str(error.value) and "lr of group 0" not in str(error.value)
    assert "moments[1]['square'] of group 0, tensor 1, shape (3,)" in str(error.value)


def test_what_was_not_finite_before_the_first_step_is_left_alone() -> None:
    mask = torch.tensor([0.0, -math.inf]).requires_grad_()
    weight = torch.ones(2, requires_grad=True)
    optimizer: Any = steadystep.guard(torch.optim.SGD([mask, weight], lr=0.1), undo=True, nonfinite="raise")
    for _ in range(3):
        mask.grad, weight.grad = torch.zeros(2), torch.ones(2)
        optimizer.step()
    assert optimizer.ledger["applied"] == 3 and optimizer.ledger["nonfinite_updates"] == 0


@pytest.mark.parametrize("undo", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_the_size_of_each_update_is_reported_if_it_is_asked_for(dtype: torch.dtype, undo: bool) -> None:
    params = parameters(dtype)
    optimizer: Any = steadystep.guard(
        torch.optim.SGD([("weight", params[0]), ("bias", params[1])], lr=0.5), report_updates=True, undo=undo
    )
    assert optimizer.ledger["update_norms"] == {}
    set_gradients(params)
    before = [param.detach().clone() for param in params]
    optimizer.step()
    wide = torch.complex128 if dtype.is_complex else torch.float64
    sizes = [float((new.detach().to(wide) - old.to(wide)).norm()) for new, old in zip(params, before, strict=True)]
    assert optimizer.ledger["update_norms"] == pytest.approx(dict(zip(("weight", "bias"), sizes, strict=True)))


def test_the_size_of_updates_is_not_reported_otherwise() -> None:
    params = parameters(torch.float32)
    optimizer: Any = steadystep.guard(torch.optim.SGD(params, lr=0.5))
    set_gradients(params)
    optimizer.step()
    assert optimizer.ledger["update_norms"] == {}


@pytest.mark.parametrize("place", ["parameter", "state"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64])
def test_one_value_in_any_tensor_of_any_dtype_is_found(dtype: torch.dtype, place: str) -> None:
    class Breaks(torch.optim.SGD):
        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:  # type: ignore[override]
            super().step()
            if self.param_groups[0]["breaks"]:
                tensor = params[1] if place == "parameter" else self.state[params[1]]["momentum_buffer"]
                tensor.view(-1)[-1] = written[0]

    written = [0.0]
    for written[0] in (math.nan, math.inf, -math.inf):
        params = [torch.ones((3, 5), dtype=dtype).t().requires_grad_(), torch.ones(2001, dtype=dtype).requires_grad_()]
        optimizer: Any = steadystep.guard(Breaks(params, lr=0.1, momentum=0.9), nonfinite="raise")
        optimizer.param_groups[0]["breaks"] = False
        for step in range(4):
            optimizer.param_groups[0]["breaks"] = step == 3
            for param in params:
                param.grad = torch.full_like(param, 0.5)
            if step < 3:
                optimizer.step()
        with pytest.raises(steadystep.NonFiniteUpdateError, match=r"tensor 1, shape \(2001,\)") as error:
            optimizer.step()
        assert "tensor 0" not in str(error.value)
        assert ("momentum_buffer of" in str(error.value)) == (place == "state")


@pytest.mark.parametrize("size", [3, 1 << 20])
def test_a_parameter_that_moves_is_checked_where_it_is(size: int) -> None:
    param = torch.ones(size, requires_grad=True)
    optimizer = steadystep.guard(torch.optim.SGD([param], lr=0.1), nonfinite="raise")
    for _ in range(3):
        param.grad = torch.ones(size)
        optimizer.step()
        param.data = param.data.clone()  # the memory of large tensors is given back to the system
    kept, param.data = param.data, param.data.clone()
    optimizer.param_groups[0]["lr"] = 3e38
    param.grad = torch.full((size,), 10.0)
    with pytest.raises(steadystep.NonFiniteUpdateError):
        optimizer.step()
    assert torch.isfinite(kept).all()


def test_a_negated_parameter_is_checked_in_every_step() -> None:
    param = torch.complex(torch.zeros(2), torch.ones(2)).conj().imag.detach().requires_grad_()
    assert param.is_neg()
    optimizer = steadystep.guard(torch.optim.SGD([param], lr=0.1), nonfinite="raise")
    for lr in (0.1, 0.1, 3e38):
        optimizer.param_groups[0]["lr"] = lr
        param.grad = torch.full((2,), 10.0)
        with pytest.raises(steadystep.NonFiniteUpdateError) if lr > 1 else contextlib.nullcontext():
            optimizer.step()


def test_a_step_that_drops_the_gradients_is_checked() -> None:
    class Dropping(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            super().step()
            self.zero_grad()

    param = torch.ones(3, requires_grad=True)
    optimizer = steadystep.guard(Dropping([param], lr=3e38), nonfinite="raise")
    param.grad = torch.full((3,), 10.0)
    with pytest.raises(steadystep.NonFiniteUpdateError, match="tensor 0"):
        optimizer.step()
