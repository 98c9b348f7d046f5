"""Metrics are written by the real packages, and read back."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import steadystep
from integrations.wandb_file import history_of
from steadystep.integrations import track
from steadystep.integrations.track.names import accepted_name
from steadystep.integrations.track.sink import Sink

pytest.importorskip("tensorboard", reason="the extra `track` is not installed: run make integrations")
pytest.importorskip("wandb", reason="the extra `track` is not installed: run make integrations")
pytest.importorskip("mlflow", reason="the extra `track` is not installed: run make integrations")

ODD = "a+b [é]/x//y"
"""A name of a module that not every tracker takes."""

Read = Callable[[], Mapping[str, list[tuple[int, float]]]]


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the trackers in a folder, without an API key and without what they remember of the user."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def trained(steps: int = 0) -> tuple[nn.Module, steadystep.Adam]:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("first", nn.Linear(2, 2))
    model.add_module(ODD, nn.Linear(2, 1))
    optimizer = steadystep.Adam(model.named_parameters(), lr=0.1, clip=1.0)
    for _ in range(steps):
        step(model, optimizer, 1.0)
    return model, optimizer


def step(model: nn.Module, optimizer: steadystep.Adam, value: float) -> torch.Tensor:
    optimizer.zero_grad()
    loss = model(torch.full((2, 2), value)).sum()
    loss.backward()
    optimizer.step()
    return loss


def read_tensorboard(folder: str = "runs") -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(folder)
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def read_wandb(axis: str = "steadystep/step") -> dict[str, list[tuple[int, float]]]:
    import wandb

    wandb.teardown()  # the end of a run may still be on its way to the file
    found: dict[str, list[tuple[int, float]]] = {}
    (file,) = Path("wandb").glob("offline-run-*/run-*.wandb")
    for row in history_of(file):
        for name, value in row.items():
            if not name.startswith("_") and axis in row:
                found.setdefault(name, []).append((row[axis], float(value)))
    return found


def uri() -> str:
    return f"sqlite:///{Path.cwd() / 'metrics.db'}"


def read_mlflow() -> dict[str, list[tuple[int, float]]]:
    from mlflow import MlflowClient

    client = MlflowClient(uri())
    (run,) = client.search_runs([item.experiment_id for item in client.search_experiments()])
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: [(point.step, point.value) for point in points] for name, points in histories.items()}


def make_tensorboard() -> Sink:
    return track.tensorboard(Path("runs"))


def make_wandb() -> Sink:
    return track.wandb(project="tests")


def make_mlflow() -> Sink:
    return track.mlflow(experiment="tests", tracking_uri=uri(), name="a run")


SINKS: dict[str, tuple[Callable[[], Sink], Read, Callable[[str], str]]] = {
    "tensorboard": (make_tensorboard, read_tensorboard, str),
    "wandb": (make_wandb, read_wandb, str),
    "mlflow": (make_mlflow, read_mlflow, accepted_name),
}
each = pytest.mark.parametrize(("make", "read", "named"), SINKS.values(), ids=SINKS)


def stored(value: float, tracker: Callable[[str], str]) -> float:
    """Return what a tracker holds instead of a number; MLflow's databases have no infinity."""
    if tracker is accepted_name and math.isinf(value):
        return math.copysign(1.7976931348623157e308, value)
    return value


@each
def test_what_is_logged_is_read_back(make: Callable[[], Sink], read: Read, named: Callable[[str], str]) -> None:
    """NaN and infinity included: the second step has gradients that are not finite."""
    model, optimizer = trained()
    written: dict[str, list[tuple[int, float]]] = {}
    with make() as log:
        for number, value in enumerate((1.0, math.inf, 1.0), 1):
            loss = step(model, optimizer, value)
            log.log(optimizer, loss=loss, lr=0.1, worst=-math.inf)
            if number == 2:
                assert not math.isfinite(optimizer.metrics()[f"steadystep/norm/{ODD}.weight"])
            metrics = {**optimizer.metrics(), "loss": float(loss.detach()), "lr": 0.1, "worst": -math.inf}
            for name, metric in metrics.items():
                written.setdefault(named(name), []).append((number, stored(metric, named)))
    found = read()
    for name, points in written.items():
        assert [number for number, _ in found[name]] == [1, 2, 3]
        assert [metric for _, metric in found[name]] == pytest.approx([metric for _, metric in points], nan_ok=True)
    assert found.keys() - {"steadystep/step"} == written.keys()


@each
def test_a_step_may_be_given_and_may_go_back(make: Callable[[], Sink], read: Read, named: Callable[[str], str]) -> None:
    _, optimizer = trained(1)
    with make() as log:
        log.log(optimizer, step=70)
        log.log(optimizer, step=40)
    assert sorted(number for number, _ in read()["steadystep/applied"]) == [40, 70]


@each
def test_an_optimizer_inside_a_wrapper_and_a_guarded_one(
    make: Callable[[], Sink], read: Read, named: Callable[[str], str]
) -> None:
    weight = torch.ones(1, requires_grad=True)
    guarded = steadystep.guard(torch.optim.SGD([weight], lr=0.1))
    weight.grad = torch.tensor([4.0])
    guarded.step()
    with make() as log:
        log.log(guarded)
        with pytest.raises(TypeError, match="log needs an optimizer that can refuse a step, and got an SGD"):
            log.log(torch.optim.SGD([weight], lr=0.1))
        with pytest.raises(TypeError, match=r"log takes numbers, and got loss='high'"):
            log.log(guarded, loss="high")
    assert read()["steadystep/norm_before"] == [(1, 4.0)]
    log.close()
    with pytest.raises(ValueError, match="this sink is closed"):
        log.log(guarded)


def test_an_open_writer_stays_open() -> None:
    from torch.utils.tensorboard.writer import SummaryWriter

    _, optimizer = trained(1)
    with SummaryWriter("runs") as writer:
        with track.tensorboard(writer) as log:
            log.log(optimizer)
        assert read_tensorboard()["steadystep/applied"] == [(1, 1.0)]
        writer.add_scalar("mine", 5.0, 2)
    assert read_tensorboard()["mine"] == [(2, 5.0)]


def test_an_open_wandb_run_stays_open_and_keeps_its_own_count_of_rows() -> None:
    import wandb

    _, optimizer = trained(1)
    run = wandb.init(project="tests", mode="offline")
    for number in range(5):
        run.log({"mine": number})
    for log in (track.wandb(run), track.wandb()):  # the second one finds the run that is active
        with log:
            log.log(optimizer, loss=2.0)
    run.log({"mine": 9})
    with pytest.raises(TypeError, match=r"takes an open run or the options of a new one \(project\), not both"):
        track.wandb(run, project="tests")
    run.finish()
    assert read_wandb()["loss"] == [(1, 2.0), (1, 2.0)]
    assert read_wandb("_step")["mine"] == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (7, 9)]


def test_an_open_mlflow_run_stays_open() -> None:
    import mlflow

    mlflow.set_tracking_uri(uri())
    _, optimizer = trained(1)
    with mlflow.start_run() as run:
        with track.mlflow(run) as log:
            log.log(optimizer)
        mlflow.log_metric("mine", 5.0, step=2)
        with pytest.raises(TypeError, match="not both"):
            track.mlflow(run, experiment="tests")
    found = read_mlflow()
    assert found["mine"] == [(2, 5.0)] and found["steadystep/applied"] == [(1, 1.0)]


def test_a_failed_block_is_a_failed_run_of_mlflow() -> None:
    from mlflow import MlflowClient

    with pytest.raises(ZeroDivisionError), make_mlflow():
        raise ZeroDivisionError
    client = MlflowClient(uri())
    (run,) = client.search_runs([item.experiment_id for item in client.search_experiments()])
    assert (run.info.status, run.info.run_name) == ("FAILED", "a run")


def test_a_model_of_more_tensors_than_a_request_of_mlflow_may_have() -> None:
    params = [(f"layer{number}", torch.ones(1, requires_grad=True)) for number in range(1200)]
    optimizer = steadystep.SGD(params, lr=0.1)
    for _, param in params:
        param.grad = torch.ones(1)
    optimizer.step()
    with make_mlflow() as log:
        log.log(optimizer)
    assert len([name for name in read_mlflow() if name.startswith("steadystep/norm/")]) == 1200


@pytest.mark.parametrize("target", [None, 3, object()])
def test_something_that_is_no_target(target: Any) -> None:
    with pytest.raises(TypeError, match="tensorboard takes a folder or a SummaryWriter, and got"):
        track.tensorboard(target)
    if target is not None:
        with pytest.raises(TypeError, match=r"wandb takes a run, such as that of wandb\.init, and got"):
            track.wandb(target)
        with pytest.raises(TypeError, match=r"mlflow takes a run, such as that of mlflow\.start_run, and got"):
            track.mlflow(target)


def test_without_an_api_key_a_run_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    from steadystep.integrations.track.wandb_sink import default_mode

    assert default_mode() == "offline"
    wandb.teardown()
    (tmp_path / "no-netrc").write_text("machine api.wandb.ai\n  login user\n  password " + 40 * "a" + "\n")
    assert default_mode() is None
    wandb.teardown()
    (tmp_path / "no-netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", 40 * "a")
    assert default_mode() is None
    wandb.teardown()
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert default_mode() is None


def test_the_page_runs() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "log-metrics.md"
    blocks = re.findall(r"^```py\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)
    assert read_tensorboard("runs/first")["steadystep/applied"] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert read_wandb()["steadystep/applied"] == [(3, 3.0)]


@pytest.fixture(autouse=True)
def forget_the_settings() -> Iterator[None]:
    """Let wandb and MLflow read their settings again in the next test."""
    yield
    import mlflow
    import wandb

    wandb.teardown()
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
