"""`--log` writes the finished trials of a study by the real packages, each once."""

# pyright: reportMissingImports=false, reportMissingModuleSource=false

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations.wandb_file import history_of
from steadystep.cli.app import run
from steadystep.lab.execution.run_study import run_study
from steadystep.lab.sinks.choose import open_destinations
from steadystep.lab.sinks.finished_run import finished_run
from steadystep.lab.sinks.observer import Logged
from steadystep.lab.tasks import rnn
from steadystep.lab.training.record import Record
from tiny_study import STUDY, TASK, TRIALS_IN_ALL, RecordingObserver

pytest.importorskip("tensorboard", reason="the extra `track` is not installed: run make integrations")
pytest.importorskip("wandb", reason="the extra `track` is not installed: run make integrations")
pytest.importorskip("mlflow", reason="the extra `track` is not installed: run make integrations")

Curves = dict[str, dict[str, list[float]]]
"""By the identity of a trial, then by the name of a metric."""


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import wandb

    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    wandb.teardown()
    yield
    wandb.teardown()


def study(*specs: str, observer: RecordingObserver | None = None) -> list[Record]:
    """Run or resume the tiny study, and return the records that its observer was told of."""
    seen = observer or RecordingObserver()
    run_study(STUDY, TASK, None, Path("study"), 1, Logged(seen, open_destinations(specs), STUDY.arms))
    return seen.finished


def in_tensorboard() -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for folder in Path("runs").glob("*/*"):
        events = EventAccumulator(str(folder))
        events.Reload()
        scalars = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        found[folder.name[-17:-1]] = scalars
    return found


def in_wandb() -> Curves:
    import wandb

    wandb.teardown()  # the end of a run may still be on its way to the file
    found: Curves = {}
    for file in Path("wandb").glob("offline-run-*/run-*.wandb"):
        assert found.setdefault(file.stem.removeprefix("run-"), {}) == {}, "a trial has two runs"
        for row in history_of(file):
            for name, value in row.items():
                found[file.stem.removeprefix("run-")].setdefault(name, []).append(float(value))
    return found


def in_mlflow() -> Curves:
    from mlflow import MlflowClient

    client = MlflowClient(uri())
    experiment = client.get_experiment_by_name("steadystep")
    assert experiment
    found: Curves = {}
    for each in client.search_runs([experiment.experiment_id]):
        assert each.info.status == "FINISHED"
        assert found.setdefault(each.data.tags["steadystep.trial"], {}) == {}, "a trial has two runs"
        for name in each.data.metrics:
            points = client.get_metric_history(each.info.run_id, name)
            found[each.data.tags["steadystep.trial"]][name] = [
                point.value for point in sorted(points, key=lambda point: point.step)
            ]
    return found


def uri() -> str:
    return f"sqlite:///{Path.cwd() / 'metrics.db'}"


TRACKERS: dict[str, tuple[Callable[[], str], Callable[[], Curves]]] = {
    "tensorboard": (lambda: "tensorboard:runs", in_tensorboard),
    "wandb": (lambda: "wandb:tests", in_wandb),
    "mlflow": (lambda: f"mlflow:{uri()}", in_mlflow),
}
each = pytest.mark.parametrize(("spec", "read"), TRACKERS.values(), ids=TRACKERS)


@each
def test_every_trial_is_one_run_with_its_curves(spec: Callable[[], str], read: Callable[[], Curves]) -> None:
    """Trials that are shared by two budgets are reported twice, and written once; so are those of a finished study."""
    records = {record.trial.id: record for record in study(spec())}
    for _ in range(2):
        found = read()
        assert found.keys() == records.keys() and len(found) <= TRIALS_IN_ALL
        for identity, record in records.items():
            assert found[identity]["val_accuracy"] == pytest.approx(record.curve.val_accuracy)
            assert found[identity]["train_loss"] == pytest.approx(record.curve.train_loss)
            if read is not in_wandb:  # where final values are in the summary
                expected = [] if record.test_accuracy is None else [record.test_accuracy]
                assert found[identity].get("final/test_accuracy", []) == pytest.approx(expected)
        study(spec())


@each
def test_a_study_that_was_run_without_trackers_is_written_afterwards(
    spec: Callable[[], str], read: Callable[[], Curves]
) -> None:
    records = study()
    study(spec())
    assert read().keys() == {record.trial.id for record in records}


def test_what_an_interrupted_write_has_left_is_replaced() -> None:
    from mlflow import MlflowClient

    records = study()
    whole = finished_run(records[0], STUDY.arms)
    Path("runs", f".{whole.identity}.partial").mkdir(parents=True)
    Path("wandb", f"offline-run-20200101_000000-{whole.identity}").mkdir(parents=True)
    client = MlflowClient(uri())
    started = client.create_run(client.create_experiment("steadystep"), tags={"steadystep.trial": whole.identity})
    study("tensorboard:runs", "wandb:tests", f"mlflow:{uri()}")
    assert not list(Path("runs").glob("*.partial"))
    assert client.get_run(started.info.run_id).info.lifecycle_stage == "deleted"
    assert in_tensorboard().keys() == in_wandb().keys() == in_mlflow().keys()


def test_another_project_gets_runs_of_its_own() -> None:
    study("wandb:one")
    records = study("wandb:two")
    runs = list(Path("wandb").glob("offline-run-*/run-*.wandb"))
    assert len(runs) == 2 * len({record.trial.id for record in records})


def test_a_tracker_that_fails_does_not_stop_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is replaced by a file after the tracker has been opened."""
    seen = RecordingObserver()
    opened = open_destinations(["tensorboard:runs", f"mlflow:{uri()}"])
    Path("runs").rmdir()
    Path("runs").write_text("not a folder")
    run_study(STUDY, TASK, None, Path("study"), 1, Logged(seen, opened, STUDY.arms))
    (warning,) = seen.warnings
    assert warning.startswith("--log tensorboard:runs: ") and "run the same command again" in warning
    assert in_mlflow().keys() == {record.trial.id for record in seen.finished}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tensorboard:a-file/runs", "choose another folder"),
        ("mlflow:nonsense://x", "use a URI such as mlflow:sqlite:///mlflow.db"),
        ("mlflow:a-folder", "use a URI such as mlflow:sqlite:///mlflow.db"),
    ],
)
def test_a_destination_that_cannot_be_used(
    spec: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a-file").touch()
    monkeypatch.setattr(sys, "argv", ["steadystep", "compare", "--workers", "1", "--log", spec])
    assert run() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"steadystep: --log {spec} cannot be used: ") and line.endswith(words)


SMALL = ("--seeds", "1", "--epochs", "1", "--workers", "1", "--log", "tensorboard:runs")


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "--arms", "sgd,adam", "--settings", "2"),
        ("stability", "--optimizers", "sgd", "--lrs", "0.01,0.1"),
        ("success", "--task", "rnn-latch", "--lengths", "10", "--arms", "SGD,SGD + norm", "--tune-seeds", "1"),
    ],
    ids=lambda command: command[0],
)
def test_from_the_command_line(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("UPDATES", 3), ("VALIDATION", 10), ("TEST", 50)):
        monkeypatch.setattr(rnn, name, value)
    monkeypatch.setattr(sys, "argv", ["steadystep", *command, *SMALL])
    assert run() == 0
    (folder,) = Path("studies").iterdir()
    assert in_tensorboard().keys() == {file.stem for file in (folder / "records").rglob("*.json")}
    again = [file.read_text() for file in folder.glob("*.md")]
    assert any("--log tensorboard:runs" in text for text in again)


def test_from_python() -> None:
    from steadystep import lab

    small: dict[str, Any] = {"settings": 2, "seeds": 1, "epochs": 1, "workers": 1}
    study = lab.compare("digits-mlp", "sgd", **small, out="folder", log="tensorboard:runs")
    assert in_tensorboard().keys() == set(study.trials.trial)
    assert any("--log tensorboard:runs" in file.read_text() for file in Path("folder").glob("*.md"))
    lab.compare("digits-mlp", "sgd", **small, out="folder", log=["tensorboard:runs", f"mlflow:{uri()}"])
    assert in_mlflow().keys() == set(study.trials.trial), "a finished study is written where it is missing"
