"""What is said without the trackers' packages, and what is imported. No tracker is needed for these tests."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadystep.cli.app import run
from steadystep.integrations import track
from steadystep.integrations.track.names import LONGEST, accepted_name

TRACKERS = ("tensorboard", "wandb", "mlflow")


@pytest.fixture(params=TRACKERS)
def missing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, request.param, None)
    return request.param


def test_the_message_says_what_to_install(missing: str) -> None:
    open_sink: Callable[..., Any] = getattr(track, missing)
    with pytest.raises(ImportError) as refused:
        open_sink(*["runs"] * (missing == "tensorboard"))
    assert str(refused.value) == (
        f"steadystep.integrations.track.{missing} needs {missing}: pip install 'steadystep[track]'"
    )


def test_a_folder_of_offline_runs_is_not_the_package(tmp_path: Path) -> None:
    """A folder named `wandb` is a namespace package where the real one is missing."""
    (tmp_path / "wandb").mkdir()
    code = (
        "import sys\n"
        "real = [path for path in sys.path if path]\n"
        "from steadystep.integrations.track import wandb_sink\n"
        "sys.modules.pop('wandb', None); sys.path[:] = ['']; sys.path_importer_cache.clear()\n"
        "try:\n    wandb_sink.import_wandb()\n"
        "except ImportError as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == "steadystep.integrations.track.wandb needs wandb: pip install 'steadystep[track]'\n"


def test_no_tracker_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, steadystep, steadystep.integrations.track, steadystep.lab.sinks.observer\n"
        "steadystep.Adam\n"
        f"print([name for name in {TRACKERS!r} if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def steadystep_compare(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["steadystep", *arguments, "--workers", "1"])
    return run()


@pytest.mark.parametrize("command", ["reproduce", "compare", "stability", "success"])
def test_log_without_the_package(
    missing: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = f"{missing}:runs"
    assert steadystep_compare(monkeypatch, command, "--log", spec) == 2
    assert capsys.readouterr().err == (
        f"steadystep: --log {spec}: steadystep.integrations.track.{missing} needs {missing}: "
        "pip install 'steadystep[track]'\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("spec", ["", "tensorboard", "tensorboard:", "wandb:", "mlflow:", "W&B", "wandbs", ":runs"])
def test_a_wrong_tracker(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert steadystep_compare(monkeypatch, "compare", "--log", spec) == 2
    assert capsys.readouterr().err == (
        f"steadystep: --log takes tensorboard:DIR, wandb, wandb:PROJECT, mlflow or mlflow:URI, got {spec!r}\n"
    )
    assert not list(tmp_path.iterdir())


NAMES = st.text(max_size=300) | st.text("ab+*/. -_é:", max_size=8)


@given(NAMES)
def test_every_name_becomes_one_that_mlflow_takes(name: str) -> None:
    import posixpath
    import re

    taken = accepted_name(name)
    assert re.fullmatch(r"[/\w.\- ]+", taken) and len(taken) <= LONGEST
    assert posixpath.normpath(taken) == taken and not taken.startswith(("/", "..")) and taken != "."


@given(st.lists(NAMES, unique=True, max_size=20))
def test_no_two_names_become_one(names: list[str]) -> None:
    taken = {accepted_name(name) for name in names}
    assert len(taken) == len(names)
    assert len({accepted_name(name) for name in [*names, *(taken - set(names))]}) == len(taken | set(names))


def test_an_ordinary_name_stays_as_it_is() -> None:
    for name in ("loss", "steadystep/norm_before", "steadystep/norm/layers.0.weight", "a b-c"):
        assert accepted_name(name) == name
