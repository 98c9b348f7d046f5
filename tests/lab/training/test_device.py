"""Where a study trains: the device that is asked for, or an error that says what there is."""

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
from steadystep.lab.tasks.task import Arrays, Splits, Task
from steadystep.lab.training.device import CPU, computing_on, find_device, name_of
from steadystep.lab.training.evaluation import evaluate
from steadystep.lab.training.precision import fastest
from steadystep.lab.training.run_trial import run_trial
from steadystep.lab.training.trainer import Training
from steadystep.lab.training.trial import Clip
from tiny_study import CALM_TASK, FINGERPRINT, STUDY, TASK, Diary, load, numbers, tiny_trial, train_in_pieces

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without a CUDA device")


@pytest.mark.parametrize("name", ["tpu", "mps", "gpu 0", "", "cuda:x", "cpu:1x", "meta"])
def test_what_is_no_device_is_told_what_there_is(name: str) -> None:
    with pytest.raises(UserError, match=r"^there is no device .*: choose one of cpu"):
        find_device(name)


@without_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_a_machine_without_a_graphics_card_says_so(name: str) -> None:
    with pytest.raises(UserError, match=rf"^there is no '{name}' here: this torch \(.*\) finds no CUDA device"):
        find_device(name)


@without_cuda
def test_a_study_refuses_a_missing_device_before_it_starts(tmp_path: Path) -> None:
    def refused(data: Path | None) -> Splits[Arrays]:
        raise AssertionError("the data were loaded")

    with pytest.raises(UserError, match="choose cpu"):
        run_study(STUDY, replace(TASK, load=refused), None, tmp_path / "study", device="cuda")
    assert not (tmp_path / "study").exists()


def test_computing_leaves_random_states_as_they_were() -> None:
    before = torch.get_rng_state()
    with computing_on(CPU):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert (name_of(CPU), find_device("cpu"), find_device(None)) == ("cpu", CPU, CPU)


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
        with computing_on(device):
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

    def test_goes_on_where_another_device_stopped(self, tmp_path: Path) -> None:
        trial = tiny_trial()
        training = Training(trial, CALM_TASK, load(None))
        for _ in range(9):
            training.step()
        other = Training(trial, CALM_TASK, load(None), find_device("cuda"))
        other.restore(training.state())
        for _ in range(9):
            training.step()
            other.step()
        for mine, theirs in zip(training.model.parameters(), other.model.parameters(), strict=True):
            torch.testing.assert_close(theirs.detach().cpu(), mine.detach(), rtol=1e-3, atol=1e-5)

    def test_a_whole_study_in_several_processes(self, tmp_path: Path) -> None:
        diary = Diary()
        results = run_study(STUDY, CALM_TASK, None, tmp_path, workers=2, observer=diary, device="cuda")
        records = [record for runs in results.final.values() for record in runs]
        assert {record.environment.device for record in records} == {torch.cuda.get_device_name()}
        assert {record.replicas for record in records} == {1}
        [warning] = diary.warnings
        assert "replicas are on the CPU alone" in warning

    def test_there_is_no_such_number(self) -> None:
        with pytest.raises(UserError, match="there is no device 'cuda:99': choose one of cpu, cuda, cuda:0"):
            find_device("cuda:99")

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize("name", TASKS)
    def test_every_task_trains_there(self, name: str, dtype: Precision) -> None:
        """Two steps, and an evaluation with all views and shares."""
        device, task = find_device("cuda"), TASKS[name]
        splits, arm = _splits(task), task.arms[0]
        trial = tiny_trial(
            task=name, optimizer=arm.optimizer, options=arm.options, lr=arm.lrs[0], dtype=dtype, batch_size=20
        )
        with computing_on(device):
            training = Training(trial, task, splits, device)
            training.step()
            training.step()
            found = evaluate(training.model, splits.val, task.recipe, test=True, device=device)
        assert all(parameter.is_cuda for parameter in training.model.parameters())
        assert training.measured.steps == 2
        assert math.isfinite(found.loss)

    def test_precision_is_chosen_by_what_is_faster_there(self) -> None:
        said: list[str] = []
        task = find_task("cifar10-cnn")
        chosen = fastest(task, _splits(task), said.append, find_device("cuda"))
        [text] = said
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
"""Of an example; images are bytes."""

WORDS = 35
"""In a window of text."""


def _splits(task: Task) -> Splits:
    """Made-up data of the task's kind, where its own have to be at hand; the generated ones as they are."""
    if task.name.startswith(("rnn", "digits")):
        return task.load(None)
    generator = torch.Generator().manual_seed(0)

    def made_up() -> Arrays:
        if task.name not in SHAPES:
            x, y = torch.randint(task.classes, (2, 60, WORDS), generator=generator)
            return Arrays(x, y)
        bytes_ = torch.randint(256, (60, *SHAPES[task.name]), generator=generator, dtype=torch.uint8)
        x = bytes_ if bytes_.dim() > 2 else bytes_.float() / 255
        return Arrays(x, torch.randint(task.classes, (60,), generator=generator))

    return Splits(made_up(), made_up(), made_up(), FINGERPRINT)
