"""Test the command line end to end, with real processes, real files and real errors."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from child_processes import child, run_child
from steadystep.cli.app import run

SMALL = """
task: digits-mlp
arms:
  - {name: SGD, optimizer: SGD, lrs: [0.2, 0.5]}
  - {name: Adam, optimizer: Adam, lrs: [0.003, 0.01]}
  - {name: Adam + norm, optimizer: Adam, lrs: [0.01], clip: norm, quantiles: [0.5, 0.9]}
seeds: 3
tune_seeds: 1
budgets: [1, 2]
batch_size: 64
"""


def steadystep(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "steadystep", *map(str, arguments)]
    return run_child(command, cwd=cwd)


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check that the command exits with code 2 and a one-line error that contains the words, without a traceback."""
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    for word in words:
        assert word in result.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small finished study."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.yaml").write_text(SMALL)
    result = steadystep("reproduce", "--study", "small.yaml", "--out", "out", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "Adam + norm vs Adam" in result.stdout and "report.html" in result.stdout
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished study, which a test may damage."""
    subprocess.run(["cp", "-r", f"{finished}/.", str(tmp_path)], check=True)
    return tmp_path


@pytest.mark.parametrize("file", ["small.yaml", "out/study.json"], ids=["declared", "kept"])
def test_a_finished_study_is_not_run_again(finished: Path, file: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "out" / "records").iterdir()}
    result = steadystep("reproduce", "--study", file, "--out", "out", cwd=finished)
    assert result.returncode == 0, result.stderr
    assert {path: path.stat().st_mtime_ns for path in (finished / "out" / "records").iterdir()} == before


def test_report_needs_only_the_folder(finished: Path, tmp_path: Path) -> None:
    result = steadystep("report", finished / "out", "--out", tmp_path / "report", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert {"report.html", "summary.md", "summary.csv", "verdicts.csv", "convergence.csv"} <= {
        path.name for path in (tmp_path / "report").iterdir()
    }


def test_verify_runs_a_sample_of_a_study_again(finished: Path, tmp_path: Path) -> None:
    result = steadystep("verify", finished / "out", "--trials", 2, "--workers", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "The records agree: 2 of 2 trials differ by no more than machines do" in " ".join(result.stdout.split())
    assert len(list((tmp_path / "studies" / "out-verification" / "records").iterdir())) == 2
    assert_refused(steadystep("verify", tmp_path / "nowhere", cwd=tmp_path), "nowhere", "study.json")


def test_lists(tmp_path: Path) -> None:
    tasks, optimizers = steadystep("tasks", cwd=tmp_path), steadystep("optimizers", cwd=tmp_path)
    assert "digits-mlp" in tasks.stdout and "mnist-mlp" in tasks.stdout
    for name in ("AMSGrad", "Yogi", "AdaBound", "RAdam", "LAMB", "StableAdamW"):
        assert name in optimizers.stdout
    about = steadystep("optimizers", "Yogi", cwd=tmp_path).stdout
    assert "variant" in about and "Zaheer" in about and "vₜ" in about
    assert_refused(steadystep("optimizers", "Sophia", cwd=tmp_path), "'Sophia'", "AdamW")


def test_unknown_task(tmp_path: Path) -> None:
    result = steadystep("reproduce", "--task", "imagenet", "--out", "out", cwd=tmp_path)
    assert_refused(result, "'imagenet'", "digits-mlp, mnist-mlp")
    assert not (tmp_path / "out").exists()


def said(arguments: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command in this process and return its result: starting a new process would take most of the time."""
    monkeypatch.setattr(sys, "argv", ["steadystep", *arguments])
    code = run()
    return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reproduce", "--seeds", "-3"], ("'--seeds'", "greater than or equal to 1", "steadystep reproduce --help")),
        (["reproduce", "--seeds", "three"], ("'--seeds'", "valid integer")),
        (["reproduce", "--sedes", "3"], ("No such option: --sedes", "steadystep reproduce --help")),
        (["reproduce", "--device", "tpu"], ("there is no device 'tpu'", "choose one of cpu")),
        (["reproduce", "--task", "cifar10-cnn", "--device", "tpu"], ("there is no device 'tpu'", "choose one of cpu")),
        (["reproduce", "mnist"], ("unexpected extra argument", "mnist")),
        (["report"], ("Missing argument", "study", "steadystep report --help")),
        (["repruduce"], ("No such command 'repruduce'", "steadystep --help")),
    ],
)
def test_invalid_options(
    arguments: list[str],
    words: tuple[str, ...],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = said(arguments, capfd, monkeypatch)
    assert_refused(result, *words)
    assert result.stdout == "" and not list(tmp_path.iterdir())


def test_exit_codes_without_a_study(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(["--version"], capfd, monkeypatch).returncode == 0
    shown = said([], capfd, monkeypatch)
    assert shown.returncode == 2 and "Usage" in shown.stdout + shown.stderr and "steadystep:" not in shown.stderr

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rich.console.Console.print", interrupted)
    stopped = said(["tasks"], capfd, monkeypatch)
    assert stopped.returncode == 130 and "Traceback" not in stopped.stderr


def test_damaged_data(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train.parquet").write_bytes(b"PAR1 and no more")
    monkeypatch.chdir(tmp_path)
    arguments = ["reproduce", "--task", "mnist-mlp", "--data", str(tmp_path), "--workers", "1", "--out", "out"]
    result = said(arguments, capfd, monkeypatch)
    assert_refused(result, "cannot be read", str(tmp_path / "mnist" / "train.parquet"), "--data")
    assert "was not found" not in result.stderr and not (tmp_path / "out").exists()


def test_missing_data(tmp_path: Path) -> None:
    result = steadystep(
        "reproduce", "--task", "mnist-mlp", "--data", tmp_path / "nowhere", "--out", "out", cwd=tmp_path
    )
    assert_refused(result, "ylecun/mnist", str(tmp_path / "nowhere"), "--data")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("lrs: [0.2, 0.5]", "lrs: [-0.2, 0.5]"), ("greater than 0", "-0.2")),
        (("lrs: [0.2, 0.5]", "lrs: [0.2]"), ("same number of tuned settings",)),
        (("optimizer: SGD", "optimizer: Sophia"), ("Sophia", "AdamW")),
        (("seeds: 3", "seeds: zero"), ("seeds", "zero")),
        (("seeds: 3", "sedes: 3"), ("sedes",)),
        (("budgets: [1, 2]", "budgets: [2, 1]"), ("budgets must increase",)),
        (("task: digits-mlp", "task: cifar"), ("'cifar'",)),
        (("task: digits-mlp", "{["), ("cannot read the study file",)),
    ],
)
def test_broken_study_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    change: tuple[str, str],
    words: tuple[str, ...],
) -> None:
    (tmp_path / "study.yaml").write_text(SMALL.replace(*change))
    monkeypatch.chdir(tmp_path)
    arguments = ["reproduce", "--study", "study.yaml", "--workers", "1", "--out", "out"]
    assert_refused(said(arguments, capfd, monkeypatch), *words)


def test_out_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("not a folder")
    assert_refused(steadystep("reproduce", "--out", "out", cwd=tmp_path), "out")
    assert (tmp_path / "out").read_text() == "not a folder"


def test_report_of_an_empty_folder_and_of_an_unfinished_study(copy: Path) -> None:
    assert_refused(steadystep("report", copy, cwd=copy), "study.json")
    next((copy / "out" / "records").glob("*.json")).unlink()
    assert_refused(steadystep("report", "out", cwd=copy), "not finished", "steadystep reproduce")


def test_report_names_a_damaged_record(copy: Path) -> None:
    record = sorted((copy / "out" / "records").glob("*.json"))[0]
    record.write_bytes(record.read_bytes()[:200])
    result = steadystep("report", "out", cwd=copy)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    warned, refused = result.stderr.strip().splitlines()
    assert f"{record.name} is not a complete record: the trial counts as not run" in warned
    assert "not finished" in refused and "steadystep reproduce" in refused
    assert record.stat().st_size == 200, "a report changes no record"


def test_a_truncated_record_is_reported_and_run_again(copy: Path) -> None:
    record = sorted((copy / "out" / "records").glob("*.json"))[0]
    whole = json.loads(record.read_text())["record"]
    record.write_bytes(record.read_bytes()[:200])
    result = steadystep("reproduce", "--study", "small.yaml", "--out", "out", cwd=copy)
    assert result.returncode == 0, result.stderr
    assert record.name in result.stdout + result.stderr
    again = json.loads(record.read_text())["record"]
    for record in (whole, again):
        del record["times"], record["environment"]
    assert again == whole


class Marker:
    """A stand-in for a malicious pickle, which creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_pickled_checkpoint_is_refused_and_not_executed(copy: Path) -> None:
    record = sorted((copy / "out" / "records").glob("*.json"))[0]
    record.unlink()
    checkpoint = copy / "out" / "checkpoints" / f"{record.stem}.pt"
    checkpoint.write_bytes(pickle.dumps(Marker(copy / "executed")))
    assert_refused(steadystep("reproduce", "--study", "small.yaml", "--out", "out", cwd=copy), checkpoint.name)
    assert not (copy / "executed").exists()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of this size, or skip the test if that is not possible."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small tmpfs cannot be mounted here (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    with small_disk(tmp_path / "disk", "24k") as disk:
        result = steadystep("reproduce", "--study", "small.yaml", "--out", disk / "out", cwd=tmp_path)
        assert_refused(result, "No space left")
        for record in (disk / "out").rglob("*.json"):
            json.loads(record.read_text())  # every record is complete
        assert not list(disk.rglob("*.tmp"))


def test_ctrl_c_stops_cleanly_and_prints_how_to_resume(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL.replace("[1, 2]", "[1, 60]"))
    command = [sys.executable, "-m", "steadystep", "reproduce", "--study", "small.yaml", "--out", "out"]
    with child(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        records = tmp_path / "out" / "records"
        deadline = time.monotonic() + 120
        while not (records.exists() and any(records.glob("*.json"))):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert "steadystep reproduce" in error and "--study small.yaml" in error and "--out out" in error


def test_without_the_lab_extra_the_command_prints_what_to_install(tmp_path: Path) -> None:
    program = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "typer":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from steadystep.cli import main
main()
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert_refused(result, "pip install 'steadystep[lab]'")


def test_importing_the_library_imports_nothing_of_the_lab(tmp_path: Path) -> None:
    program = (
        "import sys, torch; before = set(sys.modules); import steadystep; steadystep.Adam; "
        "print([m for m in set(sys.modules) - before if m.split('.')[0] in "
        "('pandas', 'datasets', 'plotly', 'pydantic', 'typer', 'rich', 'numba') or m.startswith('steadystep.lab')])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
