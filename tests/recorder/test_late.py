"""Records whose numbers arrive late, as from a device: made to be late on the CPU, they are the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import steadystep
from steadystep.recorder.late import Late
from steadystep.recorder.recording import Recording

MAKERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "own": lambda p: steadystep.AdamW(p, lr=1e-2, clip=0.5),
    "eager": lambda p: steadystep.AdamW(p, lr=1e-2, clip=0.5, backend="eager"),
    "guarded": lambda p: steadystep.guard(torch.optim.AdamW(p, lr=1e-2), clip=0.5),
    "torch": lambda p: torch.optim.AdamW(p, lr=1e-2),
}


def recorded(make: Callable[[Any], torch.optim.Optimizer], late: bool, bad: int = -1) -> Recording:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 70), nn.Linear(70, 2))
    optimizer = make(model.named_parameters())
    box = steadystep.blackbox(model, optimizer, None)
    if late:
        box._measures.late = Late()
    for number in range(20):
        x = torch.randn(8, 5) / (0.0 if number == bad else 1.0)
        box.batch(x)
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        if late:
            box._late_losses.send(number, loss.detach().reshape(1).double())
        else:
            box.loss(loss)
    return box.recording()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("bad", [-1, 12])
def test_late_records_are_the_same(name: str, bad: int) -> None:
    now, late = recorded(MAKERS[name], False, bad), recorded(MAKERS[name], True, bad)
    rows = 13 if bad > 0 else 20  # what a box records after its trigger depends on when it is noticed
    for column in ("loss", "lr", "applied", "scale", "gradient", "largest", "update"):
        ours, theirs = getattr(late, column)[:rows], getattr(now, column)[:rows]
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, err_msg=column)
    assert (late.trigger is None) == (now.trigger is None)
    if now.trigger is not None and late.trigger is not None:
        assert late.trigger.step == now.trigger.step == bad


def test_numbers_arrive_in_order_and_all_of_them_if_the_host_waits() -> None:
    late = Late()
    for step in range(7):
        late.send(step, torch.full((2,), float(step)))
    assert [step for step, _ in late.arrived()] == [0, 1, 2]
    assert [numbers.tolist() for _, numbers in late.arrived(wait=True)] == [[float(n)] * 2 for n in (3, 4, 5, 6)]
