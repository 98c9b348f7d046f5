"""Devices: a study trains on the requested one, or fails with an error that lists the available ones."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from steadystep.lab.choices import Precision
from steadystep.lab.errors import UserError
from steadystep.lab.execution.run_study import run_study
from steadystep.lab.tasks import TASKS, find_task
from steadystep.lab.tasks.splits import Arrays, Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.device import CPU, device_name, device_scope, find_device
from steadystep.lab.training.evaluation import evaluate
from steadystep.lab.training.precision import fastest_precision
from steadystep.lab.training.run_trial import run_trial
from steadystep.lab.training.trainer import Training
from steadystep.lab.training.trial import Clip
from tiny_study import (
    CALM_TASK,
    FINGERPRINT,
    STUDY,
    TASK,
    RecordingObserver,
    load,
    numbers,
    tiny_trial,
    train_in_pieces,
)

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without a CUDA device")


@pytest.mark.parametrize("name", ["tpu", "mps", "gpu 0", "", "cuda:x", "cpu:1x", "meta"])
def test_an_unknown_device_error_lists_the_available_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"^there is no device .*: choose one of cpu"):
        find_device(name)


@without_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_an_error_says_that_there_is_no_cuda_device(name: str) -> None:
    with pytest.raises(UserError, match=rf"^there is no '{name}' here: this torch \(.*\) finds no CUDA device"):
        find_device(name)


@without_cuda
def test_a_study_with_a_missing_device_fails_before_it_starts(tmp_path: Path) -> None:
    def forbidden_load(data: Path | None) -> Splits[Arrays]:
        raise AssertionError("the data were loaded")

    with pytest.raises(UserError, match="choose cpu"):
        run_study(STUDY, replace(TASK, load=forbidden_load), None, tmp_path / "study", device="cuda")
    assert not (tmp_path / "study").exists()


def test_device_scope_restores_random_states() -> None:
    before = torch.get_rng_state()
    with device_scope(CPU):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert (device_name(CPU), find_device("cpu"), find_device(None)) == ("cpu", CPU, CPU)


@on_cuda
class TestOnADevice:
    @pytest.mark.parametrize("clip", [None, Clip(kind="norm", threshold=0.5)], ids=str)
    @pytest.mark.parametrize("optimizer", ["SGD", "Adam", "LAMB"])
    def test_interrupted_anywhere_gives_the_same_numbers(
        self, optimizer: str, clip: Clip | None, tmp_path: Path
    ) -> None:
        device, trial = find_device("cuda"), tiny_trial(optimizer=optimizer, clip=clip)
        undisturbed = run_trial(trial, TASK, load(None), tmp_path / "whole.pt", device=device)
        moments = random.Random(f"{optimizer} {clip}")
        with device_scope(device):
            train_in_pieces(trial, TASK, load(None), tmp_path / "parts.pt", moments, steps=(1, 5), device=device)
        resumed = run_trial(trial, TASK, load(None), tmp_path / "parts.pt", device=device)
        assert numbers(resumed) == numbers(undisturbed)
        assert resumed.environment.device == torch.cuda.get_device_name()

    def test_a_model_without_noise_trains_as_on_a_cpu(self, tmp_path: Path) -> None:
        trial = tiny_trial(clip=Clip(kind="norm", threshold=0.5))
        here, there = (
            run_trial(trial, CALM_TASK, load(None), tmp_path / f"{name}.pt", device=find_device(name))
            for name in ("cpu", "cuda")
        )
        assert there.curve.train_loss == pytest.approx(here.curve.train_loss, rel=1e-4)
        assert there.test_accuracy == pytest.approx(here.test_accuracy, abs=0.03)

    def test_resumes_a_checkpoint_of_another_device(self, tmp_path: Path) -> None:
        trial = tiny_trial()
        training = Training(trial, CALM_TASK, load(None))
        for _ in range(9):
            training.step()
        other = Training(trial, CALM_TASK, load(None), find_device("cuda"))
        other.restore(training.state())
        for _ in range(9):
            training.step()
            other.step()
        for expected, actual in zip(training.model.parameters(), other.model.parameters(), strict=True):
            torch.testing.assert_close(actual.detach().cpu(), expected.detach(), rtol=1e-3, atol=1e-5)

    def test_a_whole_study_in_several_processes(self, tmp_path: Path) -> None:
        observer = RecordingObserver()
        results = run_study(STUDY, CALM_TASK, None, tmp_path, workers=2, observer=observer, device="cuda")
        records = [record for runs in results.final.values() for record in runs]
        assert {record.environment.device for record in records} == {torch.cuda.get_device_name()}
        assert {record.replicas for record in records} == {1}
        [warning] = observer.warnings
        assert "replicas run on the CPU only" in warning

    def test_an_unknown_device_number_is_an_error(self) -> None:
        with pytest.raises(UserError, match="there is no device 'cuda:99': choose one of cpu, cuda, cuda:0"):
            find_device("cuda:99")

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize("name", TASKS)
    def test_every_task_trains_there(self, name: str, dtype: Precision) -> None:
        """Take two steps and evaluate with the test recipe."""
        device, task = find_device("cuda"), TASKS[name]
        splits, arm = _splits(task), task.arms[0]
        trial = tiny_trial(
            task=name, optimizer=arm.optimizer, options=arm.options, lr=arm.lrs[0], dtype=dtype, batch_size=20
        )
        with device_scope(device):
            training = Training(trial, task, splits, device)
            training.step()
            training.step()
            result = evaluate(training.model, splits.val, task.recipe, test=True, device=device)
        assert all(parameter.is_cuda for parameter in training.model.parameters())
        assert training.measured.steps == 2
        assert math.isfinite(result.loss)

    def test_the_faster_precision_is_chosen(self) -> None:
        messages: list[str] = []
        task = find_task("cifar10-cnn")
        chosen = fastest_precision(task, _splits(task), messages.append, find_device("cuda"))
        [text] = messages
        assert text.endswith(f"training in {chosen}")


SHAPES = {
    "mnist-mlp": (784,),
    "fashion-mlp": (784,),
    "mnist-mlp-augmented": (1, 28, 28),
    "cifar10-cnn": (3, 32, 32),
    "cifar10-resnet": (3, 32, 32),
    "imagenet-resnet": (3, 224, 224),
    "tiny-imagenet-resnet": (3, 64, 64),
}
"""Shape of one example of a task; images are bytes."""

WORDS = 35
"""Number of words in a window of text."""


def _splits(task: Task) -> Splits:
    """Return the task's data if they are generated or bundled, and otherwise random data of the same shapes."""
    if task.name.startswith(("rnn", "digits")):
        return task.load(None)
    generator = torch.Generator().manual_seed(0)

    def random_split() -> Arrays:
        if task.name not in SHAPES:
            x, y = torch.randint(task.classes, (2, 60, WORDS), generator=generator)
            return Arrays(x, y)
        bytes_ = torch.randint(256, (60, *SHAPES[task.name]), generator=generator, dtype=torch.uint8)
        x = bytes_ if bytes_.dim() > 2 else bytes_.float() / 255
        return Arrays(x, torch.randint(task.classes, (60,), generator=generator))

    return Splits(random_split(), random_split(), random_split(), FINGERPRINT)
