"""An optimizer differs from torch.optim's of the same name in what the table of differences says, and in nothing else.

The rows about values that torch's own tables contain are tested in test_torch_tables.
"""

import ast
import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, get_args

import pytest
import torch

import steadystep
from torch_differences import DIFFERENCES, Area, names_in, row_of
from torch_tables import PEERS

every_peer = pytest.mark.parametrize("name", PEERS)
Make = Callable[..., torch.optim.Optimizer]
DEFAULTS = {"SGD": {"momentum": 0.9}}
"""Options with which an optimizer has state."""


def both(name: str) -> tuple[Make, Make]:
    """Return the two classes, torch's and ours."""
    return getattr(torch.optim, name), getattr(steadystep, name)


def weight(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(3, 1, dtype=dtype, requires_grad=True)


def stepped(make: Make, grad: torch.Tensor | None = None, **options: Any) -> torch.optim.Optimizer:
    """Return an optimizer of one parameter after two steps with the same gradient."""
    options = {**DEFAULTS.get(make.__name__, {}), **options}
    param = weight() if grad is None else weight(grad.dtype)
    optimizer = make([param], **options)
    param.grad = torch.ones_like(param) if grad is None else grad
    for _ in range(2):
        optimizer.step()
    return optimizer


def state_of(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return optimizer.state.get(optimizer.param_groups[0]["params"][0], {})


def slots(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Return the per-element state."""
    return [value for value in state_of(optimizer).values() if value.dim()]


def error_of(action: Callable[[], object]) -> str:
    """Return the name of the exception that an action raises, or an empty string."""
    try:
        action()
    except Exception as raised:  # noqa: BLE001, whatever it is, it is compared
        assert "\n" not in str(raised)
        return type(raised).__name__
    return ""


def check(area: Area, difference: str, theirs: str, ours: str) -> bool:
    """Return whether two outcomes differ; the row of the table must then name the exceptions."""
    if theirs != ours:
        row = row_of(area, difference)
        assert theirs in row.torch and ours in row.ours, (difference, theirs, ours)
        assert theirs or "accepts" in row.torch or "writes" in row.torch, row
    return theirs != ours


def test_every_row_is_of_a_known_kind() -> None:
    named = [(row.area, name, one) for row in DIFFERENCES for name in row.names for one in row.optimizers]
    assert len(named) == len(set(named))
    assert {row.area for row in DIFFERENCES} == set(get_args(Area))
    assert {one for row in DIFFERENCES for one in row.optimizers} == set(PEERS)


@every_peer
def test_arguments_and_their_defaults(name: str) -> None:
    theirs, ours = (dict(inspect.signature(make).parameters) for make in both(name))
    differ = set(theirs.keys() ^ ours.keys())
    for shared in theirs.keys() & ours.keys():
        assert theirs[shared].default == ours[shared].default, shared
        if theirs[shared].kind != ours[shared].kind:
            differ.add(f"{shared} by position")
    assert differ == names_in("argument", name)
    positional = [each for each in ours if ours[each].kind == inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert list(theirs)[: len(positional)] == positional, "the order is that of torch"


@every_peer
def test_arguments_of_torch_alone_are_refused(name: str) -> None:
    theirs, ours = both(name)
    for option in inspect.signature(theirs).parameters.keys() - inspect.signature(ours).parameters.keys():
        refused, accepted = (error_of(partial(make, [weight()], **{option: True})) for make in (ours, theirs))
        assert refused == "TypeError" and check("argument", option, accepted, refused)
        with pytest.raises(TypeError, match=rf"^{name} has no '{option}': \w"):
            ours([weight()], **{option: None})


VALUES = {"nan or infinity": (float("nan"), float("inf")), "a bool": (True,), "None or a string": (None, "0.1")}


@every_peer
def test_values_that_are_refused(name: str) -> None:
    theirs, ours = both(name)
    differ = set()
    for option, accepted in getattr(steadystep, name).hyperparameters.items():
        outside = {f"{option} outside {accepted}": [x for x in (-0.5, 1.0, 1.5) if x not in accepted]}
        for kind, values in {**VALUES, **outside}.items():
            for value in values:
                options = {option: (value, 0.5) if option == "betas" else value}
                outcomes = [error_of(partial(make, [weight()], **options)) for make in (theirs, ours)]
                with pytest.raises(ValueError, match=f"^{option}"):
                    ours([weight()], **options)
                if check("value", kind, *outcomes):
                    differ.add(kind)
    kind = "an invalid option of a parameter group"
    if check("value", kind, *(error_of(partial(make, [{"params": [weight()], "lr": -1.0}])) for make in both(name))):
        differ.add(kind)
    assert differ == {each for each in names_in("value", name) if " must be " not in each}


@every_peer
def test_public_attributes(name: str) -> None:
    theirs, ours = ({each for each in dir(stepped(make)) if not each.startswith("_")} for make in both(name))
    assert theirs ^ ours == names_in("attribute", name)


@every_peer
def test_keys_of_groups_and_of_the_state_dict(name: str) -> None:
    theirs, ours = (stepped(make) for make in both(name))
    groups = theirs.param_groups[0].keys() ^ ours.param_groups[0].keys()
    assert groups - names_in("argument", name) == names_in("parameter group", name) - names_in("argument", name)
    assert theirs.defaults.keys() ^ ours.defaults.keys() <= groups
    saved = [optimizer.state_dict() for optimizer in (theirs, ours)]
    assert saved[0].keys() == saved[1].keys()
    assert saved[0]["param_groups"][0].keys() ^ saved[1]["param_groups"][0].keys() == groups


@every_peer
def test_what_is_printed(name: str) -> None:
    """The lines about shared options show the same values; the ledger, which is no option, is not shown."""

    def lines(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        first, group, *options, last = repr(optimizer).splitlines()
        assert (first, group, last) == (f"{name} (", "Parameter Group 0", ")")
        found = dict(line.split(": ") for line in options)
        assert list(found) == sorted(found) and all(line.startswith("    ") for line in found)
        return {option.strip(): value for option, value in found.items()}

    theirs, ours = (lines(stepped(make)) for make in both(name))
    for shared in theirs.keys() & ours.keys():
        assert ast.literal_eval(theirs[shared]) == ast.literal_eval(ours[shared])
    assert theirs.keys() ^ ours.keys() <= names_in("argument", name) | names_in("parameter group", name) - {
        "ledger",
        "ledger.faults",
    }


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


@every_peer
def test_state(name: str) -> None:
    theirs, ours = both(name)
    before = [bool(state_of(make([weight()]))) for make in (theirs, ours)]
    differ = {"before the first step"} if before[0] != before[1] else set()
    for default in (torch.float32, torch.float64):
        with default_dtype(default):
            found, mine = (state_of(stepped(make)) for make in (theirs, ours))
        differ |= found.keys() ^ mine.keys()
        shared = found.keys() & mine.keys()
        assert all(found[slot].shape == mine[slot].shape for slot in shared)
        differ |= {f"dtype of {slot}" for slot in shared if found[slot].dtype != mine[slot].dtype}
    half = torch.ones(3, 1, dtype=torch.bfloat16)
    if len({value.dtype for make in (theirs, ours) for value in slots(stepped(make, half))}) == 2:
        differ.add("dtype of the state of bfloat16 parameters")
    assert differ == names_in("state", name)


@every_peer
def test_checkpoints(name: str) -> None:
    def of_another_shape(make: Make) -> object:
        other = make([torch.ones(4, 2, requires_grad=True)], **DEFAULTS.get(name, {}))
        return other.load_state_dict(stepped(make).state_dict())

    def decoupled(make: Make) -> object:
        saved = stepped(both(name)[0]).state_dict()
        if "decoupled_weight_decay" in saved["param_groups"][0]:
            saved["param_groups"][0].update(decoupled_weight_decay=True, weight_decay=0.1)
        return stepped(make).load_state_dict(saved)

    differ = set()
    probes = {"state of another shape": of_another_shape, "decoupled_weight_decay in a group": decoupled}
    for about, probe in probes.items():
        if check("checkpoint", about, *(error_of(partial(probe, make)) for make in both(name))):
            differ.add(about)
    loaded = []
    for make in both(name):
        optimizer = stepped(make, maximize=True)
        saved = copy.deepcopy(optimizer.state_dict())
        del saved["param_groups"][0]["maximize"]
        optimizer.load_state_dict(saved)
        loaded.append(optimizer.param_groups[0]["maximize"])
    if loaded == [False, True]:
        differ.add("a group without maximize")
    assert differ == names_in("checkpoint", name)


def test_a_group_with_a_decay_that_a_rule_does_not_have() -> None:
    """A group of torch's Adam that decays like AdamW is refused wherever it comes from, and accepted by AdamW."""
    peer = torch.optim.Adam([weight()], decoupled_weight_decay=True, weight_decay=0.1)
    for name in ("Adam", "AMSGrad", "Adagrad"):
        with pytest.raises(ValueError, match=f"^decoupled_weight_decay is True: {name} adds .* AdamW"):
            getattr(steadystep, name)(peer.param_groups)
    assert steadystep.AdamW(peer.param_groups).param_groups[0]["weight_decay"] == 0.1
    steadystep.AdamW([weight()]).load_state_dict(peer.state_dict())
    peer.param_groups[0]["weight_decay"] = 0.0
    steadystep.Adam([weight()]).load_state_dict(peer.state_dict())


def with_a_sparse_gradient(make: Make) -> torch.optim.Optimizer:
    with torch.sparse.check_sparse_tensor_invariants():
        return stepped(make, torch.sparse_coo_tensor(torch.tensor([[1]]), torch.ones(1, 1), (3, 1)))


def with_a_gradient_in_float64(make: Make) -> torch.optim.Optimizer:
    param = weight()
    param.grad_dtype = torch.float64
    param.grad = torch.ones_like(param, dtype=torch.float64)
    optimizer = make([param], **DEFAULTS.get(make.__name__, {}))
    optimizer.step()
    return optimizer


def with_nan(make: Make) -> torch.Tensor:
    return stepped(make, torch.tensor([[1.0], [float("nan")], [1.0]])).param_groups[0]["params"][0].detach()


def with_lr(make: Make, lr: float | torch.Tensor) -> torch.Tensor:
    with default_dtype(torch.float64):
        return stepped(make, torch.ones(3, 1), lr=lr).param_groups[0]["params"][0].detach()


def with_denormal_moments(make: Make) -> bool:
    """Return whether the state has denormal numbers after a step that starts from some."""
    param = weight()
    optimizer = make([param], **DEFAULTS.get(make.__name__, {}))
    for gradient in (torch.ones_like(param), torch.zeros_like(param)):
        param.grad = gradient
        for value in slots(optimizer):
            value.fill_(1e-40)
        optimizer.step()
    return any(bool(((value != 0) & (value.abs() < torch.finfo(value.dtype).tiny)).any()) for value in slots(optimizer))


@pytest.mark.filterwarnings("ignore:all gradients are exactly 0")
@every_peer
def test_steps(name: str) -> None:
    theirs, ours = both(name)
    differ = set()
    for about, probe in {
        "a sparse gradient": with_a_sparse_gradient,
        "a gradient of another dtype than its parameter": with_a_gradient_in_float64,
    }.items():
        if check("step", about, *(error_of(partial(probe, make)) for make in (theirs, ours))):
            differ.add(about)
    assert all(value.dtype == torch.float32 for value in slots(with_a_gradient_in_float64(ours)))
    if name == "SGD" and {value.dtype for value in slots(with_a_gradient_in_float64(theirs))} == {torch.float64}:
        differ.add("a gradient of another dtype than its parameter")
    if with_nan(theirs).isnan().any() and torch.equal(with_nan(ours), weight()):
        differ.add("a gradient that is not finite")
    if with_denormal_moments(theirs) and not with_denormal_moments(ours):
        differ.add("a moment below the smallest normal number")
    rate = torch.tensor(0.1)
    assert torch.equal(with_lr(ours, rate), with_lr(ours, rate.item()))
    if not torch.allclose(with_lr(theirs, rate), with_lr(ours, rate), rtol=1e-12, atol=0):
        differ.add("a float32 tensor as lr")
    assert differ == names_in("step", name)
