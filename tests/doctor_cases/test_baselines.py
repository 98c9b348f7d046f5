"""The baselines follow the rules that their sources state."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.doctor.baselines import Make, clip_at_one, detect_anomaly, lightning, olmo, tenth_of_lr
from benchmarks.doctor.planted import PLANTED
from benchmarks.doctor.programs import regression_net
from benchmarks.doctor.run import STEPS, Run


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def showing(losses: Sequence[float]) -> Make:
    """Return a run whose losses are given and whose gradients are zero."""

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        return batch + 0 * model(torch.ones(1)).sum()

    def make() -> Run:
        model = nn.Linear(1, 1, bias=False)
        batches = [*losses, *[losses[-1]] * (STEPS - len(losses))]
        return Run(model, torch.optim.SGD(model.parameters()), loss, batches)

    return make


def test_lightning_alarms_at_three_times_the_mean_of_the_last_ten() -> None:
    assert lightning(showing([1.0] * 20 + [2.9])).alarmed is False
    assert lightning(showing([1.0] * 20 + [3.0, 1.0])).step == 20
    assert lightning(showing([1.0] * 20 + [float("nan")])).step == 20


def test_lightning_does_not_alarm_at_an_improvement() -> None:
    assert lightning(showing([10.0] * 20 + [0.1])).alarmed is False


def test_olmo_alarms_above_six_standard_deviations_once_it_has_seen_half_an_interval() -> None:
    steady = [1.0, 1.1] * 40
    assert olmo(showing([*steady, 1.3])).alarmed is False
    assert olmo(showing([*steady, 1.5, 1.0])).step == 80
    assert olmo(showing([1.0, 1.1] * 20 + [50.0] + [1.0, 1.1] * 10)).alarmed is False
    assert olmo(showing([*steady, float("nan")])).step == 80


def test_detect_anomaly_names_the_backward_function() -> None:
    case = next(case for case in PLANTED if case.name == "infinite-branch")
    found = detect_anomaly(lambda: case.make(0))
    assert found.alarmed and found.place == "LogBackward0" and found.culprit == "backward-op"


def test_the_remedies_save_the_runs_that_they_fit() -> None:
    rate = next(case for case in PLANTED if case.name == "warm-up-too-far")
    outlier = next(case for case in PLANTED if case.name == "rare-target")
    assert tenth_of_lr(lambda: rate.make(0)).culprit == "learning-rate"
    clipped = clip_at_one(lambda: outlier.make(0))
    assert clipped.culprit == "outlier-gradient" and clipped.cured


def test_the_remedies_leave_a_sound_run_alone() -> None:
    for rule in (tenth_of_lr, clip_at_one):
        assert not rule(lambda: regression_net.make(0)).alarmed
