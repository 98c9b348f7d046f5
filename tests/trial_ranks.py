"""One rank of the tests of trials: `python tests/trial_ranks.py RANK WORLD FOLDER` trains small trials."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from steadystep.lab.tasks import charlm_transformer, cifar10_cnn, cifar10_resnet, mnist_mlp, ptb_lstm
from steadystep.lab.tasks.lanes import Lanes
from steadystep.lab.tasks.networks.fast_cnn import FastCNN
from steadystep.lab.tasks.networks.gpt import GPT
from steadystep.lab.tasks.networks.lstm_lm import LSTMLanguageModel
from steadystep.lab.tasks.networks.mlp import make_mlp
from steadystep.lab.tasks.networks.resnet import resnet_cifar
from steadystep.lab.tasks.splits import Arrays, Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.tasks.text import windows
from steadystep.lab.training.checkpoint_of_ranks import load_checkpoint_of_ranks, save_checkpoint_of_ranks
from steadystep.lab.training.processor import apply_cpu_settings, cpu_settings
from steadystep.lab.training.ranks import ALONE, Ranks
from steadystep.lab.training.trainer import Training
from steadystep.lab.training.trial import Clip, Trial

EXAMPLES = 60
WORDS = 40
LENGTH = 8


def images(examples: int) -> Arrays:
    random = np.random.RandomState(examples)
    y = random.randint(10, size=examples)
    x = random.randint(0, 200, (examples, 3, 32, 32)) + 5 * y[:, None, None, None]
    return Arrays(torch.tensor(x, dtype=torch.uint8), torch.tensor(y))


def digits(examples: int) -> Arrays:
    random = np.random.RandomState(examples)
    y = random.randint(10, size=examples)
    return Arrays(torch.tensor(random.normal(size=(examples, 20)), dtype=torch.float32), torch.tensor(y))


def text(examples: int) -> tuple[torch.Tensor, torch.Tensor]:
    # Words that follow their predecessors, so that there is something to learn.
    steps = np.random.RandomState(examples).randint(1, 4, examples * LENGTH + 1)
    return windows(np.cumsum(steps) % WORDS, LENGTH)


def splits(make: Any) -> Splits[Any]:
    return Splits(make(EXAMPLES), make(23), make(17), "0" * 16)


SMALL: Mapping[str, tuple[Task, Splits[Any], dict[str, Any]]] = {
    "cifar10-resnet": (
        replace(cifar10_resnet.TASK, model=partial(resnet_cifar, 1)),
        splits(images),
        {"optimizer": "SGD", "options": {"momentum": 0.9}, "lr": 0.02, "batch_size": 12},
    ),
    "cifar10-resnet, uneven": (
        replace(cifar10_resnet.TASK, model=partial(resnet_cifar, 1)),
        splits(images),
        {"lr": 1e-3, "batch_size": 15},
    ),
    "cifar10-cnn": (
        replace(cifar10_cnn.TASK, model=partial(FastCNN, (6, 8, 8))),
        splits(images),
        {"lr": 1e-3, "batch_size": 15},
    ),
    "charlm-transformer": (
        replace(charlm_transformer.TASK, model=partial(GPT, WORDS, LENGTH, width=16, heads=2, layers=2)),
        splits(lambda examples: Arrays(*text(examples))),
        {"optimizer": "AdamW", "lr": 1e-3, "batch_size": 5},
    ),
    "ptb-lstm": (
        replace(
            ptb_lstm.TASK,
            model=partial(LSTMLanguageModel, WORDS, width=12),
            recipe=replace(ptb_lstm.TASK.recipe, evaluation_batch=5),
        ),
        splits(lambda examples: Lanes(*text(examples))),
        {"optimizer": "SGD", "lr": 0.5, "batch_size": 6, "clip": Clip(kind="norm", threshold=0.25)},
    ),
}
"""Small versions of tasks whose numbers are those of one process."""

SINGLE = ("cifar10-resnet", "charlm-transformer")
"""The tasks that are trained in float32 too, where rounding grows from step to step."""

NOISY = (
    replace(mnist_mlp.TASK, model=partial(make_mlp, (20, 16, 10), dropout=0.5)),
    splits(digits),
    {"batch_size": 12},
)
"""A task with dropout, whose noise differs between processes."""


NAMES = [*SMALL, *(f"{name}, single" for name in SINGLE), "noisy"]


def trial_of(task: Task, **fields: Any) -> Trial:
    defaults: dict[str, Any] = {
        "optimizer": "Adam", "lr": 0.01, "epochs": 2, "seed": 3, "role": "final",
        "clip": Clip(kind="norm", threshold=1.0),
    }  # fmt: skip
    return Trial(task=task.name, data="0" * 16, **{**defaults, **fields})


class Seen(Training):
    """A run that notes the labels of the examples that it trains on."""

    seen: list[list[int]]

    def note_examples(self) -> None:
        """Begin to note the labels of each step."""
        self.seen = []
        loss = self._recipe.loss

        def note(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            self.seen.append(y.flatten().tolist())
            return loss(outputs, y)

        self._recipe = replace(self._recipe, loss=note)


def doubled(task: Task) -> Task:
    """Return the task in float64, in which only an error in the computation shows."""
    return replace(task, model=lambda: task.model().double())


def parts_of(name: str) -> tuple[Task, Splits[Any], dict[str, Any]]:
    """Return a task, its data and its trial: ``NAME, single`` has one epoch in float32, other names two in float64."""
    if name.endswith(", single"):
        task, parts, fields = SMALL[name.removesuffix(", single")]
        return task, parts, {**fields, "epochs": 1}
    if name not in SMALL:
        return NOISY
    task, parts, fields = SMALL[name]
    return doubled(task), parts, fields


def take(training: Training, steps: int) -> None:
    """Take steps, with validation at the end of epochs."""
    for _ in range(steps):
        training.step()
        if training.at_epoch_end():
            training.end_epoch()


def train(name: str, ranks: Ranks = ALONE) -> Seen:
    """Return a finished run of a small task."""
    task, parts, fields = parts_of(name)
    with cpu_settings():
        training = Seen(trial_of(task, **fields), task, parts, ranks=ranks)
        training.note_examples()
        take(training, training.steps)
    return training


def outcome(training: Training) -> dict[str, Any]:
    """Return what a run ends with."""
    return {
        "model": training.state()["model"],
        "measured": {name: value for name, value in training.measured.state().items() if not name.endswith("seconds")},
        "test": training.test()[:2],
    }


def resumed(name: str, folder: Path, ranks: Ranks) -> Training:
    """Return a run that is saved and restored in a new object twice, in the middle of each epoch."""
    task, parts, fields = parts_of(name)
    trial = trial_of(task, **fields)
    training = Training(trial, task, parts, ranks=ranks)
    for _ in range(trial.epochs):
        take(training, training.steps_per_epoch - 1)
        save_checkpoint_of_ranks(folder / name, trial.id, training.state(), ranks)
        training = Training(trial, task, parts, ranks=ranks)
        state = load_checkpoint_of_ranks(folder / name, trial.id, ranks)
        assert state is not None
        training.restore(state)
    take(training, training.steps - training.measured.steps)
    return training


def main(rank: int, world: int, folder: Path) -> None:
    """Train all small tasks as one of the ranks."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    ranks = Ranks(rank, world)
    apply_cpu_settings()
    for name in NAMES:
        training = train(name, ranks)
        again = resumed(name, folder, ranks)
        torch.save(
            {"whole": outcome(training), "resumed": outcome(again), "seen": training.seen}, folder / f"{rank}-{name}.pt"
        )
    (folder / f"{rank}.json").write_text(json.dumps({}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
