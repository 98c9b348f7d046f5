"""Runs of trials are reproducible, paired across arms and resumed bit for bit, and divergence is recorded correctly."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from steadystep.lab.errors import UserError
from steadystep.lab.tasks.splits import Arrays, Splits
from steadystep.lab.training.checkpoint import (
    BrokenCheckpointError,
    UnsafeCheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from steadystep.lab.training.record import QUANTILES, Record
from steadystep.lab.training.run_trial import TrialStopped, run_trial
from steadystep.lab.training.trainer import Training
from steadystep.lab.training.trial import Clip, Trial
from steadystep.optimizers import OPTIMIZERS
from tiny_study import TASK, load, numbers, tiny_trial, train_in_pieces

CLIPS = (None, Clip(kind="norm", threshold=0.5), Clip(kind="value", threshold=0.05))


def _nan_model() -> nn.Module:
    class Nan(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x) * math.nan

    return Nan()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tmp_path / "trial.pt"


def run(trial: Trial, checkpoint: Path, **options) -> Record:
    return run_trial(trial, TASK, load(None), checkpoint, **options)


@pytest.mark.parametrize("clip", CLIPS, ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_interrupted_anywhere_gives_the_same_numbers(optimizer: str, clip: Clip | None, checkpoint: Path) -> None:
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    trial = tiny_trial(optimizer=optimizer, clip=clip, options=options)
    undisturbed = run(trial, checkpoint)
    moments = random.Random(f"{optimizer} {clip}")
    train_in_pieces(trial, TASK, load(None), checkpoint, moments, steps=(1, 5))
    assert numbers(run(trial, checkpoint)) == numbers(undisturbed)


def test_a_stopped_trial_resumes_from_where_it_stopped(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadystep.lab.training.run_trial.POLL_SECONDS", 0)
    trial = tiny_trial(epochs=5)
    undisturbed = run(trial, checkpoint)
    polls = iter([*[False] * 15, True])  # one after every step
    epochs: list[int] = []
    with pytest.raises(TrialStopped):
        run(trial, checkpoint, stop=lambda: next(polls), on_epoch=lambda epoch, metrics: epochs.append(epoch))
    assert epochs == [1, 2]
    resumed = run(trial, checkpoint, on_epoch=lambda epoch, metrics: epochs.append(epoch))
    assert epochs == [1, 2, 3, 4, 5], "an epoch was run twice or never"
    assert numbers(resumed) == numbers(undisturbed)


def test_a_running_trial_writes_checkpoints(checkpoint: Path) -> None:
    found: list[bool] = []
    run(
        tiny_trial(),
        checkpoint,
        checkpoint_seconds=0,
        on_epoch=lambda epoch, metrics: found.append(checkpoint.exists()),
    )
    assert found == [True, True, True]
    checkpoint.unlink()
    run(tiny_trial(), checkpoint, checkpoint_seconds=1000)
    assert not checkpoint.exists()


def test_time_counts_work_and_not_the_interruption(checkpoint: Path) -> None:
    trial = tiny_trial()
    training = Training(trial, TASK, load(None))
    training.step()
    save_checkpoint(checkpoint, trial.id, {**training.state(), "elapsed": 1000.0})
    assert 1000 < run(trial, checkpoint).times.wall_seconds < 1100


def test_arms_share_weights_order_and_noise() -> None:
    splits = load(None)
    adam = Training(tiny_trial(seed=3), TASK, splits)
    adam_noise = torch.rand(5)
    clipped = Training(tiny_trial(seed=3, optimizer="SGD", lr=0.5, clip=CLIPS[1], epochs=9), TASK, splits)
    clipped_noise = torch.rand(5)
    other = Training(tiny_trial(seed=4), TASK, splits)

    def weights(training: Training) -> torch.Tensor:
        return nn.utils.parameters_to_vector(training.model.parameters())

    assert torch.equal(weights(adam), weights(clipped))
    assert torch.equal(adam.next_batch()[0], clipped.next_batch()[0])
    assert torch.equal(adam_noise, clipped_noise)
    assert not torch.equal(weights(adam), weights(other))
    assert not torch.equal(adam.next_batch()[0], other.next_batch()[0])


def test_every_epoch_visits_every_example_once_in_a_new_order() -> None:
    splits = load(None)
    training = Training(tiny_trial(batch_size=20), TASK, splits)
    epochs = []
    for _ in range(2):
        batches = []
        for _ in range(training.steps_per_epoch):
            batches.append(training.next_batch()[0])
            training.step()
        training.end_epoch()
        epochs.append(torch.cat(batches))
    assert not torch.equal(epochs[0], epochs[1])
    for epoch in epochs:
        assert torch.equal(epoch.sort(0).values, splits.train.x.sort(0).values)


def test_a_batch_that_is_not_full_is_dropped() -> None:
    training = Training(tiny_trial(batch_size=16), TASK, load(None))
    assert (training.steps_per_epoch, training.steps) == (6, 18)
    assert Training(tiny_trial(batch_size=1000), TASK, load(None)).steps_per_epoch == 1


def test_the_record_measures_every_epoch_and_step(checkpoint: Path) -> None:
    record = run(tiny_trial(clip=CLIPS[1]), checkpoint)
    assert record.outcome == "finished"
    assert record.steps == 18
    assert record.parameters == 6 * 16 + 16 + 16 * 3 + 3
    # Forward 2mnk for each layer, the same for its weights' gradient, and once more for the inner layer's input.
    assert record.flops == 18 * (2 * 2 * 16 * 6 * 16 + 3 * 2 * 16 * 16 * 3)
    assert {len(values) for values in record.curve.model_dump().values()} == {3}
    assert len(record.norm_quantiles) == len(QUANTILES)
    assert list(record.norm_quantiles) == sorted(record.norm_quantiles)
    assert all(after <= 0.5 + 1e-6 for after in record.curve.norm_after)
    assert record.clip_rate == pytest.approx(sum(record.curve.clip_rate) / 3)
    assert 0 < record.clip_rate <= 1
    assert record.val_accuracy == record.curve.val_accuracy[-1]
    assert 0 < record.times.optimizer_ms < record.times.step_ms


def test_an_unclipped_run_is_never_scaled(checkpoint: Path) -> None:
    record = run(tiny_trial(), checkpoint)
    assert record.clip_rate == 0
    assert record.curve.norm_before == record.curve.norm_after


def test_the_schedule_ends_at_zero() -> None:
    training = Training(tiny_trial(), TASK, load(None))
    rates = []
    while not training.finished:
        rates.append(training.optimizer.param_groups[0]["lr"])
        training.step()
    assert rates[0] == 0.01
    assert rates[9] == pytest.approx(0.005)
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0)


class Forbidden:
    """A split that must not be read."""

    def __getattr__(self, name: str):
        raise AssertionError(f"the test split was read ({name})")


def test_only_finished_final_runs_read_the_test_split(checkpoint: Path) -> None:
    splits = load(None)
    guarded = Splits(splits.train, splits.val, Forbidden(), splits.fingerprint)  # type: ignore[arg-type]
    tuned = run_trial(tiny_trial(role="tune"), TASK, guarded, checkpoint)
    assert tuned.test_accuracy is None
    assert tuned.val_accuracy is not None
    diverged = run_trial(tiny_trial(), replace(TASK, model=_nan_model), guarded, checkpoint)
    assert diverged.test_accuracy is None
    with pytest.raises(AssertionError, match="test split was read"):
        run_trial(tiny_trial(), TASK, guarded, checkpoint)


def test_a_nan_loss_diverges_at_once(checkpoint: Path) -> None:
    record = run_trial(tiny_trial(), replace(TASK, model=_nan_model), load(None), checkpoint)
    assert (record.outcome, record.reason) == ("diverged", "the loss is nan at step 1")
    assert (record.steps, record.norm_quantiles, record.val_accuracy) == (0, (), None)
    assert math.isnan(record.clip_rate)
    assert Record.model_validate_json(record.model_dump_json()).steps == 0


def test_an_overflowing_gradient_diverges_and_says_where(checkpoint: Path) -> None:
    splits = load(None)
    huge = Splits(Arrays(splits.train.x * 1e30, splits.train.y), splits.val, splits.test, splits.fingerprint)
    record = run_trial(tiny_trial(), TASK, huge, checkpoint)
    assert record.outcome == "diverged"
    assert record.reason.startswith("step 1: ")
    assert "0.weight" in record.reason


def test_a_run_that_learned_nothing_counts_as_diverged(checkpoint: Path) -> None:
    record = run(tiny_trial(optimizer="SGD", lr=1e-9), checkpoint)
    assert record.outcome == "diverged"
    assert "no better than guessing" in record.reason
    assert len(record.curve.val_accuracy) == 3


def test_the_callers_random_state_is_restored(checkpoint: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    run(tiny_trial(), checkpoint)
    assert torch.equal(torch.get_rng_state(), before)


def test_wrong_optimizer_and_options_raise_one_line_errors(checkpoint: Path) -> None:
    with pytest.raises(UserError, match="no optimizer 'Magic': choose one of SGD"):
        run(tiny_trial(optimizer="Magic"), checkpoint)
    with pytest.raises(UserError, match="Adam does not accept the options"):
        run(tiny_trial(options={"momentum": 0.9}), checkpoint)
    assert run(tiny_trial(options={"betas": (0.8, 0.9)}), checkpoint).outcome == "finished"


class Exploit:
    """The content of a malicious file, which calls a function when it is unpickled."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self):
        return (Path.touch, (self.touched,))


def _as_torch_file(content: object, path: Path) -> None:
    torch.save(content, path)


def _as_old_torch_file(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def _as_pickle(content: object, path: Path) -> None:
    import pickle

    path.write_bytes(pickle.dumps(content))


def _as_ascii_pickle(content: object, path: Path) -> None:
    import pickle

    path.write_bytes(pickle.dumps(content, protocol=0))


@pytest.mark.parametrize("write", [_as_torch_file, _as_old_torch_file, _as_pickle, _as_ascii_pickle])
def test_a_checkpoint_that_could_run_code_is_refused(write, checkpoint: Path, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    write({"format": 1, "trial": tiny_trial().id, "model": Exploit(touched)}, checkpoint)
    with pytest.raises(UnsafeCheckpointError, match=r"trial\.pt") as refusal:
        run(tiny_trial(), checkpoint)
    assert "\n" not in str(refusal.value)
    assert not touched.exists()
    assert checkpoint.exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_reported_and_the_trial_starts_over(share: float, checkpoint: Path) -> None:
    trial = tiny_trial()
    undisturbed = run(trial, checkpoint)
    training = Training(trial, TASK, load(None))
    training.step()
    save_checkpoint(checkpoint, trial.id, {**training.state(), "elapsed": 0.0})
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: int(share * len(whole))])
    warnings: list[str] = []
    assert numbers(run(trial, checkpoint, warn=warnings.append)) == numbers(undisturbed)
    [warning] = warnings
    assert "starts over" in warning


def test_a_flipped_bit_in_a_checkpoint_is_noticed(checkpoint: Path) -> None:
    trial = tiny_trial()
    training = Training(trial, TASK, load(None))
    training.step()
    save_checkpoint(checkpoint, trial.id, {**training.state(), "elapsed": 0.0})
    content = bytearray(checkpoint.read_bytes())
    weights = training.model.state_dict()["0.weight"].numpy().tobytes()
    content[content.index(weights) + 5] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(BrokenCheckpointError, match="damaged"):
        load_checkpoint(checkpoint, trial.id)


def test_another_trials_checkpoint_is_not_used(checkpoint: Path) -> None:
    training = Training(tiny_trial(seed=1), TASK, load(None))
    save_checkpoint(checkpoint, tiny_trial(seed=1).id, {**training.state(), "elapsed": 0.0})
    with pytest.raises(BrokenCheckpointError, match="not a checkpoint of this trial"):
        load_checkpoint(checkpoint, tiny_trial(seed=2).id)


def test_an_update_that_is_not_finite_ends_the_trial_and_not_the_study(checkpoint: Path) -> None:
    record = run(tiny_trial(optimizer="LAMB", lr=1e39), checkpoint)
    assert record.outcome == "diverged"
