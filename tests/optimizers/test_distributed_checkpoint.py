"""Test torch.distributed.checkpoint in one process: a new optimizer that loads the saved files continues identically.

torch first calls `state_dict` of the new optimizer, and loads only the entries that it contains: so it must contain
all of them. tests/ranks.py tests the same with sharded parameters.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

import steadystep
from cases import CLIPPERS, OPTIMIZERS

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*TypedStorage is deprecated"),
    pytest.mark.filterwarnings("ignore:torch.distributed is .*, assuming the intent is to"),
]

Make = Callable[[Any], Any]
MAKERS: dict[str, Make] = {str(case): case.make for case in OPTIMIZERS}
MAKERS |= {
    str(case): lambda params, case=case: steadystep.SGD(params, lr=0.01, clip=case.make())
    for case in CLIPPERS
    if case.make().start(1)
}
MAKERS |= {
    "two groups": lambda params: steadystep.NAdam(
        [{"params": [pair]} for pair in params], clip=[steadystep.ZClip(warmup=3), steadystep.AdaGC(warmup=3)]
    ),
    "guarded Adam": lambda params: steadystep.guard(torch.optim.Adam(params), clip=steadystep.AutoClip(25)),
    "guarded SGD": lambda params: steadystep.guard(torch.optim.SGD(params, lr=0.01), clip=steadystep.ZClip(warmup=3)),
}


def fresh(make: Make) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return model, make(model.named_parameters())


def train(model: nn.Module, optimizer: Any, steps: range) -> None:
    for step in steps:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(x).square().mean() * 10.0 ** (step % 3 - 1)).backward()
        optimizer.step()
    optimizer.zero_grad()


def assert_same(one: tuple[nn.Module, Any], other: tuple[nn.Module, Any]) -> None:
    for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True):
        assert torch.equal(a, b)
    assert one[1].ledger == other[1].ledger


@pytest.mark.parametrize("name", MAKERS)
def test_saved_to_files_and_loaded(name: str, tmp_path: Path) -> None:
    model, optimizer = fresh(MAKERS[name])
    train(model, optimizer, range(8))
    saved_model, saved = get_state_dict(model, optimizer)
    save({"model": saved_model, "optimizer": saved}, checkpoint_id=tmp_path, no_dist=True)
    other, resumed = fresh(MAKERS[name])
    model_state, state = get_state_dict(other, resumed)
    load({"model": model_state, "optimizer": state}, checkpoint_id=tmp_path, no_dist=True)
    set_state_dict(other, resumed, model_state_dict=model_state, optim_state_dict=state)
    for trained_model, its_optimizer in ((model, optimizer), (other, resumed)):
        train(trained_model, its_optimizer, range(8, 14))
    assert optimizer.ledger["attempted"] == 14
    assert_same((model, optimizer), (other, resumed))


OPTIONS = {"flat": StateDictOptions(flatten_optimizer_state_dict=True), "full": StateDictOptions(full_state_dict=True)}
# torch cannot load a full state dict of an optimizer without state, such as its own SGD without momentum.
FORMS = [(name, option) for name in MAKERS for option in OPTIONS if (name, option) != ("guarded SGD", "full")]


@pytest.mark.parametrize(("name", "option"), FORMS)
def test_every_form_of_a_state_dict(name: str, option: str) -> None:
    options = OPTIONS[option]
    model, optimizer = fresh(MAKERS[name])
    train(model, optimizer, range(8))
    saved = copy.deepcopy(get_optimizer_state_dict(model, optimizer, options=options))
    other, resumed = fresh(MAKERS[name])
    other.load_state_dict(model.state_dict())
    set_optimizer_state_dict(other, resumed, saved, options=options)
    for trained_model, its_optimizer in ((model, optimizer), (other, resumed)):
        train(trained_model, its_optimizer, range(8, 14))
    assert_same((model, optimizer), (other, resumed))


@pytest.mark.parametrize("name", MAKERS)
def test_get_optimizer_state_dict_has_no_effect(name: str) -> None:
    saved, plain = fresh(MAKERS[name]), fresh(MAKERS[name])
    get_optimizer_state_dict(*saved)
    assert saved[1].ledger["attempted"] == 0
    if name == "guarded Adam":
        return  # torch's Adam counts the step that creates its state; a guard does not change this
    for pair in (saved, plain):
        train(*pair, range(6))
    assert_same(saved, plain)
