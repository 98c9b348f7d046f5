"""Averaged weights, compared with the recurrence, and resumed after an interruption."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from steadystep.lab.tasks.recipe import Moment, Recipe
from steadystep.lab.training.checkpoint import save_checkpoint
from steadystep.lab.training.run_trial import TrialStopped, run_trial
from steadystep.lab.training.trainer import Training
from steadystep.lab.training.weight_average import MAX_DECAY, Lookahead
from tiny_study import TASK, load, numbers, tiny_trial


def test_lookahead_matches_its_recurrence() -> None:
    model, steps, every = nn.Linear(1, 1, bias=False), 23, 5
    weight = model.weight.data
    average = Lookahead(model, steps, every)
    slow = weight.item()
    for taken in range(1, steps + 1):
        weight.add_(0.1 * taken)
        fast = weight.item()
        average.after_step(taken)
        if taken % every == 0 or taken == steps:
            decay = MAX_DECAY * (taken / steps) ** 3
            slow = decay * slow + (1 - decay) * fast
            assert weight.item() == pytest.approx(slow, rel=1e-5)
        else:
            assert weight.item() == fast


def noisy(x: torch.Tensor, indices: torch.Tensor, now: Moment) -> torch.Tensor:
    """Add noise that depends on everything an augmentation may depend on: random state, indices and moment."""
    return x + (1 - now.progress) * torch.randn_like(x) + 0.01 * (indices + now.epoch).view(-1, 1) % 2


def normed_model() -> nn.Module:
    """Return a model with buffers that change during training."""
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


AVERAGED = replace(TASK, model=normed_model, recipe=Recipe(augment=noisy, average_every=80))


@pytest.mark.parametrize("steps", [1, 4, 5, 6, 11, 17])
def test_an_interrupted_run_averages_and_augments_like_an_uninterrupted_one(steps: int, tmp_path: Path) -> None:
    trial, splits = tiny_trial(), load(None)
    whole = run_trial(trial, AVERAGED, splits, tmp_path / "whole.pt")
    with torch.random.fork_rng(devices=()):
        training = Training(trial, AVERAGED, splits)
        for _ in range(steps):
            training.step()
            if training.at_epoch_end():
                training.end_epoch()
        state = training.state()
    save_checkpoint(tmp_path / "part.pt", trial.id, {**state, "elapsed": 0.0})
    assert numbers(run_trial(trial, AVERAGED, splits, tmp_path / "part.pt")) == numbers(whole)


def test_the_checkpoint_of_a_stopped_run_contains_the_average(tmp_path: Path) -> None:
    trial, splits, path = tiny_trial(epochs=400), load(None), tmp_path / "stopped.pt"
    with pytest.raises(TrialStopped):
        run_trial(trial, AVERAGED, splits, path, stop=lambda: True)
    assert set(torch.load(path, weights_only=True)["average"]) >= {"0.weight", "1.running_mean"}
