"""The registry of tasks and the declarations of every task."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from steadystep.lab.errors import UserError
from steadystep.lab.study.spec import study_for
from steadystep.lab.tasks import TASKS, UnknownTaskError, digits_mlp, find_task
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.run_trial import run_trial
from steadystep.lab.training.trial import Trial
from steadystep.optimizers import OPTIMIZERS

EVERY_TASK = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("STEADYSTEP_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@EVERY_TASK
def test_every_task_declares_a_valid_study(task: Task) -> None:
    study = study_for(task)
    assert find_task(task.name) is task
    assert study.arms == task.arms
    assert {arm.optimizer for arm in study.arms} <= set(OPTIMIZERS)
    assert set(task.claims) <= {arm.name for arm in study.arms}
    assert 0 < task.margin < 0.05
    assert 1 / task.classes <= task.chance < task.target_accuracy < 1
    assert task.target_loss > 0


@EVERY_TASK
def test_model_returns_a_new_model_determined_by_the_seed(task: Task) -> None:
    torch.manual_seed(0)
    first, second = task.model(), task.model()
    torch.manual_seed(0)
    third = task.model()
    vectors = [torch.nn.utils.parameters_to_vector(model.parameters()) for model in (first, second, third)]
    assert torch.equal(vectors[0], vectors[2])
    assert not torch.equal(vectors[0], vectors[1])
    assert isinstance(list(first.children())[-1], torch.nn.Linear), "a task's last layer gives logits"


def test_the_error_for_an_unknown_task_lists_the_known_tasks() -> None:
    with pytest.raises(UnknownTaskError, match="no task 'minst-mlp': choose one of digits-mlp, mnist-mlp"):
        find_task("minst-mlp")


def test_importing_the_registry_imports_no_data_library() -> None:
    script = (
        "import sys, steadystep.lab.tasks; "
        "print([m for m in ('sklearn', 'datasets', 'pandas', 'PIL', 'plotly') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_split_of_the_digits_is_stratified_and_fixed() -> None:
    splits = digits_mlp.load(None)
    parts = (splits.train, splits.val, splits.test)
    assert [len(part.y) for part in parts] == [1078, 360, 359]
    for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        counts = torch.bincount(part.y)
        everything = sum(torch.bincount(other.y) for other in parts)
        assert (counts / everything - share).abs().max() < 0.005
    assert len(torch.cat([part.x for part in parts]).unique(dim=0)) == 1797, "no image is in two splits"
    assert splits.train.x.mean().abs() < 1e-5
    assert (splits.train.x.std() - 1).abs() < 1e-4
    assert splits.fingerprint == "46db78bd26af4a8f"


def test_digits_are_learned(tmp_path: Path) -> None:
    task = find_task("digits-mlp")
    splits = task.load(None)
    trial = Trial(
        task=task.name,
        data=splits.fingerprint,
        optimizer="Adam",
        lr=0.01,
        epochs=4,
        batch_size=64,
        seed=0,
        role="final",
    )
    record = run_trial(trial, task, splits, tmp_path / "checkpoint.pt")
    assert record.test_accuracy is not None
    assert record.test_accuracy > 0.93


@pytest.mark.parametrize(
    "name", ["cifar10-cnn:64:256:256", "cifar10-resnet:18", "imagenet-resnet:34", "rnn-addition:gru:20:8"]
)
def test_a_name_with_options_makes_a_task_of_that_name(name: str) -> None:
    task = find_task(name)
    assert task.name == name
    default = find_task(name.partition(":")[0]).model()
    size = sum(parameter.numel() for parameter in task.model().parameters())
    assert size != sum(parameter.numel() for parameter in default.parameters())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar10-cnn:64:256", "cifar10-cnn:64:256:256"),
        ("cifar10-cnn:64:0:256", "cifar10-cnn:64:256:256"),
        ("imagenet-resnet:19", "with 18 or 34 or 50"),
        ("cifar10-resnet:x", "with 18 or 20"),
        ("digits-mlp:3", "choose one of"),
    ],
)
def test_the_error_for_invalid_options_shows_valid_ones(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_task(name)
