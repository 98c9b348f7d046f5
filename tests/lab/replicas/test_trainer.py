"""Trials trained together as replicas: divergence, turns, group sizes, and resuming from a checkpoint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from steadystep.lab.replicas import memory_layout, trainer
from steadystep.lab.replicas.run_batch import run_batch
from steadystep.lab.replicas.trainer import ReplicatedTraining
from steadystep.lab.tasks import digits_mlp
from steadystep.lab.tasks.rnn import make_task
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.checkpoint import load_checkpoint, save_checkpoint
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import TrialStopped, run_trial
from steadystep.lab.training.trainer import Diverged, Training
from steadystep.lab.training.trial import Clip, Trial
from steadystep.lab.training.trial_batch import TrialBatch
from tiny_study import CALM_TASK, load, numbers, tiny_trial

SEVERAL = [tiny_trial(seed=seed, lr=0.01 * (1 + seed)) for seed in range(7)]


@pytest.fixture(params=[1, 2, 3, 16])
def group_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Set the maximum number of replicas in a group."""
    monkeypatch.setattr(memory_layout, "MAX_GROUP_SIZE", request.param)
    return request.param


def run(trials: list[Trial], checkpoint: Path, task: Task = CALM_TASK, **options: object) -> dict[str, Record]:
    records: dict[str, Record] = {}

    def add(record: Record) -> None:
        records[record.trial.id] = record

    run_batch(TrialBatch(tuple(trials)), task, load(None), checkpoint, add, **options)  # type: ignore[arg-type]
    return records


def assert_records_agree(found: Record, expected: Record) -> None:
    """Assert that the records of a trial trained as a replica and trained alone agree."""
    assert (found.outcome, found.reason, found.steps, found.flops) == (
        expected.outcome, expected.reason, expected.steps, expected.flops,
    )  # fmt: skip
    assert found.clip_rate == pytest.approx(expected.clip_rate, nan_ok=True)
    for name in ("train_loss", "val_loss", "val_accuracy", "norm_before", "norm_after", "clip_rate"):
        assert getattr(found.curve, name) == pytest.approx(getattr(expected.curve, name), rel=1e-4), name
    assert found.test_loss == (None if expected.test_loss is None else pytest.approx(expected.test_loss, rel=1e-4))
    assert found.test_accuracy == expected.test_accuracy


def test_records_agree_with_those_of_trials_trained_alone(group_size: int, tmp_path: Path) -> None:
    records = run(SEVERAL, tmp_path / "batch.pt")
    for trial in SEVERAL:
        assert_records_agree(records[trial.id], run_trial(trial, CALM_TASK, load(None), tmp_path / "alone.pt"))
        assert records[trial.id].replicas == len(SEVERAL)


@pytest.mark.parametrize("clip", [None, Clip(kind="norm", threshold=1e30), Clip(kind="value", threshold=1e30)])
def test_replicas_that_diverge_are_removed(group_size: int, clip: Clip | None, tmp_path: Path) -> None:
    """Each replica is removed at the same step and for the same reason as if its trial were trained alone."""
    rates = (0.3, 1e18, 0.2, 3e19, 0.4, 1e38, 0.5)
    trials = [tiny_trial(optimizer="SGD", lr=lr, seed=seed, clip=clip) for seed, lr in enumerate(rates)]
    records = run(trials, tmp_path / "batch.pt")
    for trial in trials:
        assert_records_agree(records[trial.id], run_trial(trial, CALM_TASK, load(None), tmp_path / "alone.pt"))
    outcomes = [records[trial.id].outcome for trial in trials]
    assert outcomes == ["finished", "diverged"] * 3 + ["finished"]
    assert len({records[trial.id].steps for trial in trials}) > 2, "they diverge at different steps"


def test_all_replicas_may_diverge(group_size: int, tmp_path: Path) -> None:
    trials = [tiny_trial(optimizer="SGD", lr=1e38, seed=seed) for seed in range(3)]
    records = run(trials, tmp_path / "batch.pt")
    assert {record.outcome for record in records.values()} == {"diverged"}


def test_a_rejected_gradient_has_the_same_message_as_for_the_trial_alone() -> None:
    class Steep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            # The outputs are finite; the gradient of the weights exceeds the root of the largest float32.
            return torch.tanh(self.layer(x) * 1e20) + 1e20 * (self.layer(x) - self.layer(x).detach())

    task = replace(CALM_TASK, model=Steep)
    trials = [tiny_trial(seed=seed) for seed in range(3)]
    together = ReplicatedTraining(trials, task, load(None))
    together.take_steps(1)
    for trial in trials:
        with pytest.raises(Diverged) as alone:
            Training(trial, task, load(None)).step()
        assert together.diverged[trial.id] == str(alone.value)
        assert "step 1: " in str(alone.value) and "layer.weight" in str(alone.value)
    assert together.finished and not together.running


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "NAdam"])
def test_resuming_after_any_turn_gives_the_same_numbers(
    optimizer: str, group_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "STEPS_PER_TURN", 2 * group_size)  # an epoch has 6 steps, so turns end within epochs
    rates = (0.01, 1e20, 0.02, 0.05) if optimizer == "SGD" else (0.01, 0.02, 0.05, 0.1)
    trials = [tiny_trial(optimizer=optimizer, lr=lr, seed=seed) for seed, lr in enumerate(rates)]
    whole = run(trials, tmp_path / "whole.pt")
    checkpoint, stops = tmp_path / "stopped.pt", 0
    monkeypatch.setattr("steadystep.lab.training.run_trial.POLL_SECONDS", 0.0)
    while True:
        try:
            found = run(trials, checkpoint, stop=lambda: True)
            break
        except TrialStopped:
            stops += 1
            assert stops < 20
    assert stops == 9, "one after each turn"
    assert [numbers(found[trial.id]) for trial in trials] == [numbers(whole[trial.id]) for trial in trials]


def test_a_state_contains_plain_tensors_and_numbers(tmp_path: Path) -> None:
    together = ReplicatedTraining(SEVERAL, CALM_TASK, load(None))
    together.take_steps(2)
    save_checkpoint(tmp_path / "state.pt", "id", together.state())
    state = load_checkpoint(tmp_path / "state.pt", "id")
    assert state is not None
    again = ReplicatedTraining(SEVERAL, CALM_TASK, load(None))
    again.restore(state)
    for each in (together, again):
        each.take_steps(3)
    assert torch.equal(together.memory, again.memory)


@pytest.mark.parametrize(
    ("turn", "turns"), [(4, [4, 6, 10, 12, 16, 18]), (6, [6, 12, 18]), (11, [6, 12, 18]), (13, [12, 18]), (99, [18])]
)
def test_a_turn_is_part_of_an_epoch_or_ends_with_one(
    turn: int, turns: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = ReplicatedTraining(SEVERAL[:1], CALM_TASK, load(None))
    monkeypatch.setattr(trainer, "STEPS_PER_TURN", 16 * turn)
    taken = []
    while not together.finished:
        together.step()
        taken.append(together.steps_taken)
    assert taken == turns
    measured = together.measured[SEVERAL[0].id]
    assert measured.epoch_ends == [6, 12, 18]
    assert len(measured.val_accuracy) == 3 and all(np.isfinite(measured.val_loss))


def test_a_turn_has_fewer_steps_if_they_are_expensive(monkeypatch: pytest.MonkeyPatch) -> None:
    together = ReplicatedTraining(SEVERAL, CALM_TASK, load(None))
    monkeypatch.setattr(trainer, "MAX_TURN_FLOPS", 2.5 * len(SEVERAL) * together.step_flops)
    together.step()
    assert together.steps_taken == 2
    monkeypatch.setattr(trainer, "MAX_TURN_FLOPS", 1)
    together.step()
    assert together.steps_taken == 3


@pytest.mark.parametrize("turn", [4, 6, 13, 18])
def test_the_length_of_turns_does_not_change_the_numbers(
    turn: int, group_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replicas diverge in the middle of a turn, before or after the end of an epoch within it."""
    trials = [tiny_trial(optimizer="SGD", lr=lr, seed=seed) for seed, lr in enumerate((0.01, 1e18, 0.02, 1e14, 0.05))]
    expected = run(trials, tmp_path / "expected.pt")
    monkeypatch.setattr(trainer, "STEPS_PER_TURN", turn * group_size)
    epochs = []
    found = run(trials, tmp_path / "found.pt", on_epoch=lambda trial, epoch, metrics: epochs.append(epoch))
    assert [numbers(found[trial.id]) for trial in trials] == [numbers(expected[trial.id]) for trial in trials]
    assert sorted(set(epochs)) == {4: [1, 2, 3], 6: [1, 2, 3], 13: [2, 3], 18: [3]}[turn]


def test_group_size_depends_on_the_size_of_the_model() -> None:
    small, large = (memory_layout.make_layout(model, ["m", "v"]) for model in (CALM_TASK.model(), nn.Linear(300, 300)))
    assert small.group_size(4, 6 * small.size) == 16 and large.group_size(4, 6 * large.size) == 1
    some = memory_layout.make_layout(nn.Linear(200, 200), [])
    assert some.group_size(4, 6 * some.size) == 3 and some.group_size(8, 6 * some.size) == 1


def test_recurrent_networks_have_large_groups_although_they_exceed_the_cache() -> None:
    task = make_task("temporal-order", "lstm", length=10, hidden=100)
    trials = [tiny_trial(task=task.name, seed=seed, batch_size=20) for seed in range(2)]
    assert ReplicatedTraining(trials, task, task.load(None))._group_size == 16
    digits = [trial.model_copy(update={"task": "digits-mlp"}) for trial in trials]
    assert ReplicatedTraining(digits, digits_mlp.TASK, digits_mlp.load(None))._group_size == 1
