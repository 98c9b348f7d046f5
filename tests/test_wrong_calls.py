"""Wrong calls of the library, each with the error that it gets: `wrong_calls.txt` is the table."""

import builtins
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import steadystep

TABLE = (Path(__file__).parent / "wrong_calls.txt").read_text(encoding="utf-8")
CALLS = [block.removeprefix(">>> ").split("\n", 1) for block in TABLE.strip().split("\n\n")]


def loss(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return model(batch).sum()


@pytest.mark.parametrize(("call", "expected"), CALLS, ids=[call for call, _ in CALLS])
def test_a_wrong_call_gets_a_message_that_helps(call: str, expected: str) -> None:
    kind, message = expected.split(": ", 1)
    model = torch.nn.Linear(4, 1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    names: dict[str, Any] = {"model": model, "loss": loss, "torch": torch, "steadystep": steadystep, "math": math}
    with pytest.raises(getattr(builtins, kind)) as raised:
        eval(call, names)
    assert str(raised.value) == message


def test_there_are_many() -> None:
    assert len(CALLS) >= 60
