"""Replicas agree with the same trials trained alone, up to rounding."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from steadystep.lab.replicas.compiled.executable import Executable
from steadystep.lab.replicas.compiled.fx_trace import trace
from steadystep.lab.replicas.memory_layout import MAX_GROUP_SIZE
from steadystep.lab.replicas.trainer import ReplicatedTraining
from steadystep.lab.statistics.verdicts import equivalence_p
from steadystep.lab.tasks import digits_mlp
from steadystep.lab.tasks.rnn import make_task
from steadystep.lab.tasks.splits import Arrays, Split, Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.evaluation import evaluate
from steadystep.lab.training.trainer import Training
from steadystep.lab.training.trial import Clip, Trial
from steadystep.optimizers import OPTIMIZERS
from tiny_study import CALM_TASK, calm_model, load, tiny_trial

ALONE = {"LAMB", "StableAdamW"}
"""Optimizers whose steps depend on norms of whole tensors; they are never trained in replicas."""

DIGITS = digits_mlp.TASK


def in_double(splits: Splits[Arrays]) -> Splits[Arrays]:
    train, val, test = (Arrays(part.x.double(), part.y) for part in (splits.train, splits.val, splits.test))
    return Splits(train, val, test, splits.fingerprint)


def double_calm_model() -> torch.nn.Module:
    return calm_model().double()


def double_digits_model() -> torch.nn.Module:
    return DIGITS.model().double()


def max_distance(trials: Sequence[Trial], task: Task, splits: Splits, steps: int) -> float:
    """Return the largest relative distance between any parameter of a replica and of the same trial trained alone."""
    together = ReplicatedTraining(trials, task, splits)
    for _ in range(steps):
        together.take_steps(1)
    assert not together.diverged
    distances = []
    for replica, trial in enumerate(trials):
        alone = Training(trial, task, splits)
        for _ in range(steps):
            alone.step()
        row = together.parameters(replica)
        for name, parameter in alone.model.named_parameters():
            distances.append(((row[name] - parameter).norm() / parameter.norm()).item())
        measured, expected = together.measured[trial.id], alone.measured
        for numbers in ("loss", "norm_before", "norm_after", "clipped"):
            assert getattr(measured, numbers) == pytest.approx(getattr(expected, numbers), rel=1e-4), numbers
        assert measured.clipped == expected.clipped
    return max(distances)


def varied_trials(clip: str | None, threshold: float, **fields: Any) -> list[Trial]:
    """Return more trials than fit into one group, with different seeds, learning rates and thresholds."""
    return [
        tiny_trial(
            seed=seed % 5,
            lr=0.002 * (1 + seed),
            clip=Clip(kind=clip, threshold=threshold * (1 + seed)) if clip else None,  # type: ignore[arg-type]
            **fields,
        )
        for seed in range(MAX_GROUP_SIZE + 3)
    ]


@pytest.mark.parametrize(("clip", "threshold"), [(None, 1.0), ("norm", 0.2), ("value", 0.02)])
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name not in ALONE])
def test_rules_and_clippers_agree_in_float64_after_an_epoch(optimizer: str, clip: str | None, threshold: float) -> None:
    task = replace(CALM_TASK, model=double_calm_model)
    trials = varied_trials(clip, threshold, optimizer=optimizer)
    assert max_distance(trials, task, in_double(load(None)), steps=6) < 1e-10


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        ("SGD", {"maximize": True}),
        ("Adam", {"weight_decay": 0.1, "amsgrad": True}),
        ("AdamW", {"weight_decay": 0.5}),
        ("NAdam", {"weight_decay": 0.5, "decoupled_weight_decay": True}),
        ("Adagrad", {"initial_accumulator_value": 0.1}),
        ("RMSprop", {"centered": True, "momentum": 0.9}),
    ],
)
def test_options_agree_in_float64(optimizer: str, options: dict[str, Any]) -> None:
    task = replace(CALM_TASK, model=double_calm_model)
    trials = varied_trials("norm", 0.2, optimizer=optimizer, options=options)
    assert max_distance(trials, task, in_double(load(None)), steps=6) < 1e-10


def test_different_betas_agree_in_float64() -> None:
    task = replace(CALM_TASK, model=double_calm_model)
    betas = [(0.5, 0.9), (0.8, 0.99), (0.9, 0.999)]
    trials = [tiny_trial(options={"betas": pair, "eps": 10.0**-k}) for k, pair in enumerate(betas, start=4)]
    assert max_distance(trials, task, in_double(load(None)), steps=6) < 1e-10


def digits_trials(splits: Splits) -> list[Trial]:
    trials = varied_trials("norm", 0.3, task=DIGITS.name, data=splits.fingerprint, batch_size=64, epochs=4)
    return [trial.model_copy(update={"lr": 0.0003 * (1 + replica)}) for replica, trial in enumerate(trials)]


def test_digits_agree_in_float64_after_an_epoch() -> None:
    splits = digits_mlp.load(None)
    task = replace(DIGITS, model=double_digits_model)
    assert max_distance(digits_trials(splits), task, in_double(splits), steps=16) < 1e-10


def generated_in_double(split: Split) -> Arrays:
    x, y, _ = next(split.stream(torch.arange(60), 60, 0))
    return Arrays(x.double(), y.double() if y.is_floating_point() else y)


@pytest.mark.parametrize(
    ("problem", "cell"),
    [("temporal-order", "tanh"), ("addition", "gru"), ("memorization", "lstm"), ("latch", "sigmoid")],
)
def test_recurrent_networks_agree_in_float64_after_six_steps(problem: str, cell: str) -> None:
    declared = make_task(problem, cell, length=10, hidden=8)
    splits = declared.load(None)
    train, val, test = (generated_in_double(part) for part in (splits.train, splits.val, splits.test))
    doubled = Splits(train, val, test, splits.fingerprint)
    task = replace(declared, model=lambda: declared.model().double())
    trials = varied_trials("norm", 0.05, task=task.name, data=splits.fingerprint, batch_size=10)
    assert max_distance(trials, task, doubled, steps=6) < 1e-10


def test_generated_examples_change_every_epoch_and_are_the_same_in_replicas() -> None:
    task = make_task("memorization", "tanh", length=5, hidden=8)
    splits = task.load(None)
    trials = [tiny_trial(task=task.name, data=splits.fingerprint, seed=seed, batch_size=1_000) for seed in (3, 7)]
    together, alone = ReplicatedTraining(trials, task, splits), Training(trials[1], task, splits)
    seen = []
    for _ in range(2 * alone.steps_per_epoch):
        batches = together.next_batch()
        assert all(map(torch.equal, [part[1] for part in batches], alone.next_batch()))
        seen.append(batches[0][1])
        together.take_steps(1)
        alone.step()
        if alone.at_epoch_end():
            alone.end_epoch()
    assert not torch.equal(seen[0], seen[alone.steps_per_epoch])
    measured = together.measured[trials[1].id]
    for numbers in ("loss", "val_loss"):
        assert getattr(measured, numbers) == pytest.approx(getattr(alone.measured, numbers), rel=1e-4)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_digits_agree_in_float32_after_twenty_steps(optimizer: str) -> None:
    splits = digits_mlp.load(None)
    trials = [trial.model_copy(update={"optimizer": optimizer}) for trial in digits_trials(splits)]
    assert max_distance(trials, DIGITS, splits, steps=20) < 1e-4


def batched_products_equal_linear_layers(widths: Sequence[int]) -> bool:
    """Return whether batched matrix products plus biases equal linear layers bit for bit on this machine."""
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return False  # sums have another order
    for inputs, outputs in pairwise(widths):
        x, layer = torch.randn(1, 64, inputs), torch.nn.Linear(inputs, outputs).requires_grad_(False)
        weights = layer.weight.T[None]
        [product] = Executable(trace(lambda x, weights: [torch.bmm(x, weights)], x, weights), [x, weights]).outputs
        if not torch.equal(product + layer.bias, layer(x)):
            return False
    return True


@pytest.mark.parametrize(("optimizer", "lr"), [("SGD", 0.1), ("Adam", 0.01), ("AdamW", 0.03), ("NAdam", 0.003)])
def test_digits_equal_the_trials_trained_alone_bit_for_bit(optimizer: str, lr: float) -> None:
    """Training is in float32, in which any difference in rounding would grow."""
    splits = digits_mlp.load(None)
    trials = [
        tiny_trial(
            task=DIGITS.name, data=splits.fingerprint, optimizer=optimizer, lr=lr * (1 + seed), seed=seed,
            batch_size=64, epochs=4, clip=Clip(kind="norm", threshold=0.5 + seed),
        )
        for seed in range(3)
    ]  # fmt: skip
    if not batched_products_equal_linear_layers((64, 256, 128, 10)):
        pytest.skip("sums have another order on this machine")
    together = ReplicatedTraining(trials, DIGITS, splits)
    while not together.finished:
        together.step()
    for replica, trial in enumerate(trials):
        alone = Training(trial, DIGITS, splits)
        while not alone.finished:
            alone.step()
        for name, parameter in alone.model.named_parameters():
            assert torch.equal(together.parameters(replica)[name], parameter), name


def test_evaluation_equals_that_of_each_model() -> None:
    splits = digits_mlp.load(None)
    trials = digits_trials(splits)
    together = ReplicatedTraining(trials, DIGITS, splits)
    together.take_steps(together.steps_per_epoch)
    for replica, (loss, accuracy, _) in enumerate(together.test()):
        model = DIGITS.model()
        model.load_state_dict(together.parameters(replica))
        expected = evaluate(model, splits.val, DIGITS.recipe)
        measured = together.measured[trials[replica].id]
        assert measured.val_loss == [pytest.approx(expected.loss, rel=1e-5)]
        assert measured.val_accuracy == [expected.accuracy]
        expected_loss, expected_accuracy, _ = evaluate(model, splits.test, DIGITS.recipe)
        assert loss == pytest.approx(expected_loss, rel=1e-5)
        assert accuracy == expected_accuracy


def test_a_seed_determines_weights_and_data() -> None:
    splits = load(None)
    trials = [tiny_trial(seed=seed, optimizer="SGD", lr=lr) for seed, lr in ((7, 0.1), (3, 0.2), (7, 0.3))]
    together = ReplicatedTraining(trials, CALM_TASK, splits)
    for _ in range(3):  # epochs
        for _ in range(together.steps_per_epoch):
            x, _ = together.next_batch()
            assert torch.equal(x[0], x[2]) and not torch.equal(x[0], x[1])
            together.take_steps(1)
    for replica, trial in enumerate(trials):
        fresh, alone = ReplicatedTraining(trials, CALM_TASK, splits), Training(trial, CALM_TASK, splits)
        for name, parameter in alone.model.named_parameters():
            assert torch.equal(fresh.parameters(replica)[name], parameter)
        for _ in range(2):
            for _ in range(alone.steps_per_epoch):
                assert all(map(torch.equal, [part[replica] for part in fresh.next_batch()], alone.next_batch()))
                fresh.take_steps(1)
                alone.step()
            alone.end_epoch()


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "lr"), [("SGD", 0.5), ("SGD", 1.0), ("Adam", 0.01), ("Adam", 0.03)])
def test_final_accuracies_are_equivalent_over_32_seeds(optimizer: str, lr: float) -> None:
    """Two one-sided paired tests find equivalence within the task's margin.

    The runs are not clipped, so differences in rounding grow, and use a moderate and a large learning rate.
    """
    splits = digits_mlp.load(None)
    trials = [
        tiny_trial(
            task=DIGITS.name, data=splits.fingerprint, optimizer=optimizer, lr=lr, seed=seed, batch_size=64, epochs=8
        )
        for seed in range(32)
    ]
    together = ReplicatedTraining(trials, DIGITS, splits)
    while not together.finished:
        together.take_steps(1)
    accuracies = [evaluation.accuracy for evaluation in together.test()]
    alone = []
    for trial in trials:
        training = Training(trial, DIGITS, splits)
        while not training.finished:
            training.step()
            if training.at_epoch_end():
                training.end_epoch()
        alone.append(evaluate(training.model, splits.test, DIGITS.recipe).accuracy)
    assert min(alone) > 0.9 and len(set(alone)) > 3, "the runs learn and reach different accuracies"
    assert equivalence_p(np.array(accuracies) - np.array(alone), DIGITS.margin) < 0.05
