"""Replicas are the runs that their trials would have by themselves, up to rounding."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from steadystep.lab.replicas.compiled.executable import Plan
from steadystep.lab.replicas.compiled.fx_trace import traced
from steadystep.lab.replicas.memory_layout import AT_A_TIME
from steadystep.lab.replicas.trainer import ReplicatedTraining
from steadystep.lab.statistics.verdicts import equivalence_p
from steadystep.lab.tasks import digits_mlp
from steadystep.lab.tasks.rnn import make_task
from steadystep.lab.tasks.task import Arrays, Split, Splits, Task
from steadystep.lab.training.evaluation import evaluate
from steadystep.lab.training.trainer import Training
from steadystep.lab.training.trial import Clip, Trial
from steadystep.optimizers import OPTIMIZERS
from tiny_study import CALM_TASK, calm_model, load, tiny_trial

ALONE = {"LAMB", "StableAdamW"}
"""Optimizers whose steps depend on sizes of whole tensors: never trained in replicas."""

DIGITS = digits_mlp.TASK


def in_double(splits: Splits[Arrays]) -> Splits[Arrays]:
    train, val, test = (Arrays(part.x.double(), part.y) for part in (splits.train, splits.val, splits.test))
    return Splits(train, val, test, splits.fingerprint)


def double_calm_model() -> torch.nn.Module:
    return calm_model().double()


def double_digits_model() -> torch.nn.Module:
    return DIGITS.model().double()


def furthest(trials: Sequence[Trial], task: Task, splits: Splits, steps: int) -> float:
    """The largest distance of any tensor of any replica from the lone run's, relative to the tensor's size."""
    together = ReplicatedTraining(trials, task, splits)
    for _ in range(steps):
        together.take(1)
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


def varied(clip: str | None, threshold: float, **fields: Any) -> list[Trial]:
    """Trials of one arm with seeds, learning rates and thresholds of their own: more than go into one operation."""
    return [
        tiny_trial(
            seed=seed % 5,
            lr=0.002 * (1 + seed),
            clip=Clip(kind=clip, threshold=threshold * (1 + seed)) if clip else None,  # type: ignore[arg-type]
            **fields,
        )
        for seed in range(AT_A_TIME + 3)
    ]


@pytest.mark.parametrize(("clip", "threshold"), [(None, 1.0), ("norm", 0.2), ("value", 0.02)])
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name not in ALONE])
def test_every_rule_and_clipper_in_float64_after_an_epoch(optimizer: str, clip: str | None, threshold: float) -> None:
    task = replace(CALM_TASK, model=double_calm_model)
    assert furthest(varied(clip, threshold, optimizer=optimizer), task, in_double(load(None)), steps=6) < 1e-10


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
def test_options_too(optimizer: str, options: dict[str, Any]) -> None:
    task = replace(CALM_TASK, model=double_calm_model)
    trials = varied("norm", 0.2, optimizer=optimizer, options=options)
    assert furthest(trials, task, in_double(load(None)), steps=6) < 1e-10


def test_betas_of_their_own() -> None:
    task = replace(CALM_TASK, model=double_calm_model)
    betas = [(0.5, 0.9), (0.8, 0.99), (0.9, 0.999)]
    trials = [tiny_trial(options={"betas": pair, "eps": 10.0**-k}) for k, pair in enumerate(betas, start=4)]
    assert furthest(trials, task, in_double(load(None)), steps=6) < 1e-10


def digits_trials(splits: Splits) -> list[Trial]:
    trials = varied("norm", 0.3, task=DIGITS.name, data=splits.fingerprint, batch_size=64, epochs=4)
    return [trial.model_copy(update={"lr": 0.0003 * (1 + replica)}) for replica, trial in enumerate(trials)]


def test_digits_in_float64_after_an_epoch() -> None:
    splits = digits_mlp.load(None)
    task = replace(DIGITS, model=double_digits_model)
    assert furthest(digits_trials(splits), task, in_double(splits), steps=16) < 1e-10


def generated_in_double(split: Split) -> Arrays:
    x, y, _ = next(split.stream(torch.arange(60), 60, 0))
    return Arrays(x.double(), y.double() if y.is_floating_point() else y)


@pytest.mark.parametrize(
    ("problem", "cell"),
    [("temporal-order", "tanh"), ("addition", "gru"), ("memorization", "lstm"), ("latch", "sigmoid")],
)
def test_recurrent_networks_in_float64_after_six_steps(problem: str, cell: str) -> None:
    declared = make_task(problem, cell, length=10, hidden=8)
    splits = declared.load(None)
    train, val, test = (generated_in_double(part) for part in (splits.train, splits.val, splits.test))
    doubled = Splits(train, val, test, splits.fingerprint)
    task = replace(declared, model=lambda: declared.model().double())
    trials = varied("norm", 0.05, task=task.name, data=splits.fingerprint, batch_size=10)
    assert furthest(trials, task, doubled, steps=6) < 1e-10


def test_generated_examples_are_fresh_in_every_epoch_and_the_same_for_replicas() -> None:
    task = make_task("memorization", "tanh", length=5, hidden=8)
    splits = task.load(None)
    trials = [tiny_trial(task=task.name, data=splits.fingerprint, seed=seed, batch_size=1_000) for seed in (3, 7)]
    together, alone = ReplicatedTraining(trials, task, splits), Training(trials[1], task, splits)
    seen = []
    for _ in range(2 * alone.steps_per_epoch):
        batches = together.next_batch()
        assert all(map(torch.equal, [part[1] for part in batches], alone.next_batch()))
        seen.append(batches[0][1])
        together.take(1)
        alone.step()
        if alone.at_epoch_end():
            alone.end_epoch()
    assert not torch.equal(seen[0], seen[alone.steps_per_epoch])
    measured = together.measured[trials[1].id]
    for numbers in ("loss", "val_loss"):
        assert getattr(measured, numbers) == pytest.approx(getattr(alone.measured, numbers), rel=1e-4)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_digits_in_float32_after_twenty_steps(optimizer: str) -> None:
    splits = digits_mlp.load(None)
    trials = [trial.model_copy(update={"optimizer": optimizer}) for trial in digits_trials(splits)]
    assert furthest(trials, DIGITS, splits, steps=20) < 1e-4


def computes_as_a_lone_layer_does(widths: Sequence[int]) -> bool:
    """Whether this machine's products of many matrices, with biases added, are those of a linear layer bit for bit."""
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return False  # sums are made in another order
    for inputs, outputs in pairwise(widths):
        x, layer = torch.randn(1, 64, inputs), torch.nn.Linear(inputs, outputs).requires_grad_(False)
        weights = layer.weight.T[None]
        [product] = Plan(traced(lambda x, weights: [torch.bmm(x, weights)], x, weights), [x, weights]).outputs
        if not torch.equal(product + layer.bias, layer(x)):
            return False
    return True


@pytest.mark.parametrize(("optimizer", "lr"), [("SGD", 0.1), ("Adam", 0.01), ("AdamW", 0.03), ("NAdam", 0.003)])
def test_digits_are_the_lone_runs_to_the_last_bit(optimizer: str, lr: float) -> None:
    """In float32, where nothing keeps a difference in rounding from growing."""
    splits = digits_mlp.load(None)
    trials = [
        tiny_trial(
            task=DIGITS.name, data=splits.fingerprint, optimizer=optimizer, lr=lr * (1 + seed), seed=seed,
            batch_size=64, epochs=4, clip=Clip(kind="norm", threshold=0.5 + seed),
        )
        for seed in range(3)
    ]  # fmt: skip
    if not computes_as_a_lone_layer_does((64, 256, 128, 10)):
        pytest.skip("this machine adds up in another order")
    together = ReplicatedTraining(trials, DIGITS, splits)
    while not together.finished:
        together.step()
    for replica, trial in enumerate(trials):
        alone = Training(trial, DIGITS, splits)
        while not alone.finished:
            alone.step()
        for name, parameter in alone.model.named_parameters():
            assert torch.equal(together.parameters(replica)[name], parameter), name


def test_evaluation_is_that_of_each_model() -> None:
    splits = digits_mlp.load(None)
    trials = digits_trials(splits)
    together = ReplicatedTraining(trials, DIGITS, splits)
    together.take(together.steps_per_epoch)
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


def test_a_seed_has_the_same_weights_and_data_however_it_is_trained() -> None:
    splits = load(None)
    trials = [tiny_trial(seed=seed, optimizer="SGD", lr=lr) for seed, lr in ((7, 0.1), (3, 0.2), (7, 0.3))]
    together = ReplicatedTraining(trials, CALM_TASK, splits)
    for _ in range(3):  # epochs
        for _ in range(together.steps_per_epoch):
            x, _ = together.next_batch()
            assert torch.equal(x[0], x[2]) and not torch.equal(x[0], x[1])
            together.take(1)
    for replica, trial in enumerate(trials):
        fresh, alone = ReplicatedTraining(trials, CALM_TASK, splits), Training(trial, CALM_TASK, splits)
        for name, parameter in alone.model.named_parameters():
            assert torch.equal(fresh.parameters(replica)[name], parameter)
        for _ in range(2):
            for _ in range(alone.steps_per_epoch):
                assert all(map(torch.equal, [part[replica] for part in fresh.next_batch()], alone.next_batch()))
                fresh.take(1)
                alone.step()
            alone.end_epoch()


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "lr"), [("SGD", 0.5), ("SGD", 1.0), ("Adam", 0.01), ("Adam", 0.03)])
def test_final_accuracies_are_equivalent_over_32_seeds(optimizer: str, lr: float) -> None:
    """By two one-sided paired tests, within the margin that the task calls the same.

    Unclipped, where nothing keeps a difference in rounding from growing, at a moderate rate and at a large one.
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
        together.take(1)
    accuracies = [found.accuracy for found in together.test()]
    alone = []
    for trial in trials:
        training = Training(trial, DIGITS, splits)
        while not training.finished:
            training.step()
            if training.at_epoch_end():
                training.end_epoch()
        alone.append(evaluate(training.model, splits.test, DIGITS.recipe).accuracy)
    assert min(alone) > 0.9 and len(set(alone)) > 3, "the runs learn, each to an accuracy of its own"
    assert equivalence_p(np.array(accuracies) - np.array(alone), DIGITS.margin) < 0.05
