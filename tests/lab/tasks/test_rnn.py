"""The recurrent networks compared with torch's, and trained on their tasks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from steadystep.lab.errors import UserError
from steadystep.lab.execution.batch_plan import replication_obstacle
from steadystep.lab.tasks import find_task
from steadystep.lab.tasks.networks.rnn import CELLS, RNN
from steadystep.lab.tasks.rnn import make_task
from steadystep.lab.tasks.sequences import PROBLEMS
from steadystep.lab.tasks.sequences.fresh import FreshSequences
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.run_trial import TrialStopped, run_trial
from steadystep.lab.training.trial import Clip, Trial

TORCH_CELLS = {"tanh": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@pytest.mark.parametrize("read", [1, 4])
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_cells_agree_with_torch_in_outputs_and_gradients(cell: str, read: int) -> None:
    torch.manual_seed(0)
    peer = TORCH_CELLS[cell](3, 6, batch_first=True).double()
    ours = RNN(cell, 3, 6, 2, read).double()  # type: ignore[arg-type]
    ours.input.weight.data, ours.recurrent.weight.data = peer.weight_ih_l0.data.clone(), peer.weight_hh_l0.data.clone()
    if cell == "gru":
        ours.input.bias.data, ours.recurrent.bias.data = peer.bias_ih_l0.data.clone(), peer.bias_hh_l0.data.clone()
    else:
        ours.input.bias.data = (peer.bias_ih_l0 + peer.bias_hh_l0).data
    x = torch.randn(4, 11, 3, dtype=torch.float64)
    outputs, states = ours(x), peer(x)[0][:, -read:]
    expected = ours.head(states).transpose(1, 2) if read > 1 else ours.head(states[:, 0])
    assert (outputs - expected).abs().max() < 1e-12
    gradient = torch.randn_like(outputs)
    [weight_grad] = torch.autograd.grad(outputs, [ours.recurrent.weight], gradient)
    [expected_grad] = torch.autograd.grad(expected, [peer.weight_hh_l0], gradient)
    assert (weight_grad - expected_grad).abs().max() < 1e-12


def test_the_sigmoid_network_agrees_with_its_equation() -> None:
    network = RNN("sigmoid", 2, 3, 1).double()
    x, h = torch.randn(4, 5, 2, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64)
    for step in range(5):
        h = 1 / (1 + torch.exp(-(network.input(x[:, step]) + h @ network.recurrent.weight.T)))
    assert (network(x) - network.head(h)).abs().max() < 1e-12


def test_initial_weights() -> None:
    torch.manual_seed(0)
    for cell, deviation in (("tanh", 0.1), ("sigmoid", 0.01)):
        network = RNN(cell, 50, 100, 50)  # type: ignore[arg-type]
        for layer in (network.input, network.recurrent, network.head):
            assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)
        assert not network.input.bias.any() and not network.head.bias.any()
    smart = RNN("smart-tanh", 3, 50, 2).recurrent.weight
    assert (smart != 0).sum(1).tolist() == [15] * 50
    assert torch.linalg.eigvals(smart).abs().max().item() == pytest.approx(0.95, rel=1e-4)
    lstm = RNN("lstm", 3, 50, 2)
    assert (lstm.input.bias[50:100] == 1).all() and lstm.input.bias[:50].abs().max() <= 50**-0.5


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_problem_and_cell_can_be_trained_in_replicas(problem: str, cell: str) -> None:
    task = make_task(problem, cell, length=10, hidden=16)
    assert replication_obstacle(task, task.load(None)) == ""
    assert find_task(task.name).title == task.title


@pytest.mark.parametrize("name", ["rnn-addition:lstm", "rnn-addition:lstm:long:50", "rnn-:tanh:10:10"])
def test_invalid_task_names_are_refused(name: str) -> None:
    with pytest.raises(UserError):
        find_task(name)


def small(task: Task) -> Task:
    """Return the task with 200 sequences per epoch and smaller validation and test splits."""
    problem, length = PROBLEMS[task.name.split(":")[0].removeprefix("rnn-")], int(task.name.split(":")[2])
    train, val = FreshSequences(problem, length, "train", 200), FreshSequences(problem, length, "val", 40)
    splits = Splits(train, val, FreshSequences(problem, length, "test", 100), "0" * 16)
    return replace(task, load=lambda data: splits)


def trial(task: Task, **fields: object) -> Trial:
    fields = {"optimizer": "Adam", "lr": 3e-3, "epochs": 2, "batch_size": 20, "seed": 0, "role": "final"} | fields
    return Trial.model_validate({"task": task.name, "data": task.load(None).fingerprint, **fields})


def test_a_run_stopped_in_the_middle_of_an_epoch_continues_bit_for_bit(tmp_path: Path) -> None:
    task = small(make_task("temporal-order", "tanh", length=10, hidden=16))
    splits = task.load(None)
    clipped = trial(task, clip=Clip(kind="norm", threshold=0.1))
    whole = run_trial(clipped, task, splits, tmp_path / "whole.pt")
    stops = 0
    while True:
        try:
            again = run_trial(clipped, task, splits, tmp_path / "parts.pt", stop=lambda: True)
            break
        except TrialStopped:
            stops += 1
        assert stops <= whole.steps
    assert again.model_dump(exclude={"times"}) == whole.model_dump(exclude={"times"})


def test_a_latch_is_learned(tmp_path: Path) -> None:
    task = small(make_task("latch", "tanh", length=5, hidden=1))
    record = run_trial(trial(task, lr=0.05, epochs=20), task, task.load(None), tmp_path / "checkpoint.pt")
    assert record.test_accuracy is not None and record.test_accuracy > 0.99
