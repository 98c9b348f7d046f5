"""Each class of failures is named with its place, and its fix holds in replay."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

import steadystep
from benchmarks.doctor.healthy import healthy
from diagnosis import failures
from steadystep.diagnosis.result import CULPRITS


@pytest.mark.parametrize(
    ("make", "culprit", "place"), failures.FAILURES, ids=lambda value: getattr(value, "__name__", None)
)
def test_the_culprit_is_named_and_the_fix_holds(make: Callable[[], Any], culprit: str, place: str) -> None:
    found = steadystep.diagnose(make())
    assert (found.culprit, found.exit_code) == (culprit, 3), found
    assert place in found.place
    assert found.verified and found.held >= 200 and found.fix
    assert found.evidence and found.sentence and found.culprit in CULPRITS


def test_every_class_is_tried() -> None:
    assert {culprit for _, culprit, _ in failures.FAILURES} == set(CULPRITS)


def test_a_run_without_labels_is_named_though_no_replay_can_show_a_fix() -> None:
    found = steadystep.diagnose(failures.all_labels_ignored())
    assert (found.culprit, found.verified) == ("wrong-loss", False)
    assert "-100" in found.sentence


@pytest.mark.parametrize("make", [failures.classifier, failures.regression], ids=lambda make: make.__name__)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "own"])
def test_a_sound_run_is_healthy(make: Callable[[], Any], optimizer: str) -> None:
    run = make()
    if optimizer == "own":
        run.optimizer = steadystep.AdamW(run.model.named_parameters(), lr=3e-3, clip=1.0)
    else:
        rate = 0.02 if optimizer == "SGD" else 3e-3
        run.optimizer = getattr(torch.optim, optimizer)(run.model.parameters(), lr=rate)
    found = steadystep.diagnose(run)
    assert found.healthy and found.exit_code == 0, found


def test_averaged_micro_batches_are_healthy() -> None:
    found = steadystep.diagnose(failures.micro_batches(divided=True))
    assert found.healthy, found


def test_a_rise_at_the_very_end_is_no_trouble_if_the_run_recovers() -> None:
    found = steadystep.diagnose(healthy(107).make())
    assert found.healthy, found


def test_a_guarded_optimizer_hides_no_culprit() -> None:
    run = failures.a_nan_in_the_data()
    run.optimizer = steadystep.AdamW(run.model.named_parameters(), lr=3e-3, clip=1.0)
    found = steadystep.diagnose(run)
    assert (found.culprit, found.place) == ("batch", "example 5 of batch 23")


def test_trouble_without_a_culprit() -> None:
    run = failures.classifier(count=0)

    def step(run: Any, batch: Any) -> float:
        run.count += 1
        if run.count == 30:
            raise RuntimeError("the cable is\nloose")
        return failures._step(run, batch)

    run.step = step
    found = steadystep.diagnose(run)
    assert (found.culprit, found.step, found.exit_code) == (None, 29, 4)
    assert "RuntimeError: the cable is" in found.sentence and "\n" not in found.sentence


def test_json_has_the_same_names() -> None:
    found = steadystep.diagnose(failures.a_nan_in_the_data())
    read = json.loads(found.to_json())
    for name in ("culprit", "place", "step", "sentence", "fix", "verified", "held"):
        assert read[name] == getattr(found, name)
    assert read["evidence"][0].keys() == {"swap", "outcome", "healthy"} and "losses" not in read
