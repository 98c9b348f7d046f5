"""Every row of torch's own tables of optimizer options: the same steps, checkpoints, copies and errors."""

import copy
import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

import steadystep
from torch_differences import names_in
from torch_tables import PEERS, Table, Valid, read_tables

pytestmark = pytest.mark.usefixtures("double_by_default")

Make = Callable[..., torch.optim.Optimizer]
every_peer = pytest.mark.parametrize("name", PEERS)
STEPS = 8  # RAdam rectifies from its sixth step on


@pytest.fixture(scope="module")
def tables(request: pytest.FixtureRequest) -> dict[str, Table]:
    assert request.config.cache is not None
    return read_tables(request.config.cache.mkdir("torch_tables"))


def both(name: str) -> tuple[Make, Make]:
    """Return the two classes: torch's and ours."""
    return getattr(torch.optim, name), getattr(steadystep, name)


def shared_options(name: str, row: Valid) -> dict[str, Any]:
    """Return the options of a row that both optimizers have, with tensors in float64."""

    def double(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(double, value))
        return value.to(torch.float64, copy=True) if isinstance(value, torch.Tensor) else value

    theirs_only = names_in("argument", name) - names_of_ours(name)
    return {option: double(value) for option, value in row.options.items() if option not in theirs_only}


def names_of_ours(name: str) -> set[str]:
    return set(getattr(steadystep, name)([torch.zeros(1)]).defaults)


def fresh(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (3,), ())
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


def train(optimizer: torch.optim.Optimizer, steps: range = range(STEPS)) -> list[torch.Tensor]:
    """Take steps with the gradients that belong to their numbers, and return the parameters."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    for step in steps:
        generator = torch.Generator().manual_seed(100 + step)  # not the numbers of `fresh`
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator, dtype=param.dtype) * 10 ** (step % 3 - 1)
        optimizer.step()
    return [param.detach().clone() for param in params]


def close(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor], about: str) -> None:
    message = f"{about}: {{}}".format
    torch.testing.assert_close(list(ours), list(theirs), rtol=1e-12, atol=1e-14, msg=message)


def through_a_file(saved: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@every_peer
def test_the_tables_are_complete(tables: dict[str, Table], name: str) -> None:
    table = tables[name]
    assert len(table.valid) >= 7 and len(table.invalid) >= 7
    assert {"maximize", "foreach"} <= set(table.younger)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@every_peer
def test_valid_options_give_the_same_steps(tables: dict[str, Table], name: str, dtype: torch.dtype) -> None:
    for row in tables[name].valid:
        theirs, ours = (make(fresh(dtype), **shared_options(name, row)) for make in both(name))
        close(train(ours), train(theirs), row.about)


@every_peer
def test_options_of_torch_alone_are_refused_in_one_line(tables: dict[str, Table], name: str) -> None:
    ours = both(name)[1]
    for row in tables[name].valid:
        refused = row.options.keys() - shared_options(name, row).keys()
        if refused:
            with pytest.raises(TypeError, match=rf"^{name} has no '({'|'.join(refused)})': [^\n]+$"):
                ours(fresh(), **row.options)


def outcome(make: Make, params: Any, options: dict[str, Any]) -> tuple[str, str]:
    """Return the name and message of the exception or warning, or empty strings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            make(params, **options)
        except Exception as raised:  # noqa: BLE001, whatever it is, it is compared
            return type(raised).__name__, str(raised)
    return "", ""


@every_peer
def test_invalid_arguments_give_the_same_errors(tables: dict[str, Table], name: str) -> None:
    """Options are checked before `params` is looked at: torch's table has None in its place then."""
    theirs, ours = both(name)
    differ = set()
    for row in tables[name].invalid:
        wanted, got = outcome(theirs, row.params, row.options), outcome(ours, row.params, row.options)
        assert wanted[0], row.about
        unknown = row.options.keys() & names_in("argument", name) - names_of_ours(name)
        if unknown:
            assert got[0] == "TypeError" and got[1].startswith(f"{name} has no {next(iter(unknown))!r}: "), row.about
        elif got[0] != wanted[0]:
            differ.add(row.about)
            assert outcome(ours, fresh(), row.options)[0] == "", row.about
        elif row.params is None:
            assert got[1].startswith(list(row.options)[-1]), "the message begins with the option at fault"
        else:
            assert got == wanted, row.about
    assert differ == {about for about in names_in("value", name) if " must be " in about}


@every_peer
def test_checkpoints_go_through_a_file_in_both_directions(tables: dict[str, Table], name: str) -> None:
    """Older ones too, which lack younger options and count steps in plain numbers."""
    for row in tables[name].valid:
        options = shared_options(name, row)
        undisturbed = train(both(name)[0](fresh(), **options), range(2 * STEPS))
        for old in (False, True):
            if old and "maximize" in options:  # that an old checkpoint lacks it is one of the differences
                continue
            for first, second in (both(name), both(name)[::-1], (both(name)[1],) * 2):
                before = first(fresh(), **options)
                after = second(train(before), **options)
                saved = through_a_file(before.state_dict())
                if old:
                    for group in saved["param_groups"]:
                        for option in tables[name].younger:
                            group.pop(option, None)
                    for entry in saved["state"].values():
                        entry.update({"step": float(entry["step"])} if "step" in entry else {})
                after.load_state_dict(saved)
                close(train(after, range(STEPS, 2 * STEPS)), undisturbed, f"{row.about}, old: {old}")


@every_peer
def test_copies_have_all_public_attributes(tables: dict[str, Table], name: str) -> None:
    for row in tables[name].valid:
        optimizer = both(name)[1](fresh(), **shared_options(name, row), clip=1.0)  # type: ignore[call-arg]
        train(optimizer)
        copied = copy.deepcopy(optimizer)
        public = {attribute for attribute in vars(optimizer) if not attribute.startswith("_")} | {"clip"}
        for attribute in public - {"state", "param_groups"}:
            assert repr(getattr(copied, attribute)) == repr(getattr(optimizer, attribute)), attribute
        of_the_last_step = {"norms", "update_norms"}  # a copy has taken none
        ledger, its = optimizer.ledger, copied.ledger  # type: ignore[attr-defined]
        assert {key for key in ledger if its.get(key) != ledger[key]} <= of_the_last_step
        assert repr(copied) == repr(optimizer)
        again = range(STEPS, 2 * STEPS)
        close(train(copied, again), train(optimizer, again), row.about)


SCHEDULERS: tuple[Sequence[Callable[[Any], Any]], ...] = (
    [lambda o: schedulers.StepLR(o, 3, 0.5)],
    [lambda o: schedulers.ReduceLROnPlateau(o, patience=1)],
    [lambda o: schedulers.LinearLR(o, 0.4, 0.8, 4), lambda o: schedulers.ExponentialLR(o, 0.9)],
    [lambda o: schedulers.ConstantLR(o, 0.4, 4), lambda o: schedulers.ReduceLROnPlateau(o, patience=1)],
    [lambda o: schedulers.PolynomialLR(o, 4, 0.9)],
)


@every_peer
def test_schedulers_set_the_rates_of_groups(tables: dict[str, Table], name: str) -> None:
    """Groups with their own options follow the same schedulers to the same parameters."""

    def groups() -> list[dict[str, Any]]:
        weights, *others = fresh()
        return [{"params": [weights], "lr": 0.02, "weight_decay": 0.2}, {"params": others}]

    for row in tables[name].valid:
        for makes in SCHEDULERS:
            theirs, ours = (make(groups(), **shared_options(name, row)) for make in both(name))
            followers = [[make(optimizer) for make in makes] for optimizer in (theirs, ours)]
            for step in range(STEPS):
                close(train(ours, range(step, step + 1)), train(theirs, range(step, step + 1)), row.about)
                for scheduler in (one for follower in followers for one in follower):
                    scheduler.step(*([1.0] if isinstance(scheduler, schedulers.ReduceLROnPlateau) else []))
                assert [group["lr"] for group in ours.param_groups] == [group["lr"] for group in theirs.param_groups]
