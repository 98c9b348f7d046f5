"""A script that calls the lab with several workers and has no guard is told so, once, whatever it calls."""

import multiprocessing
import os
import sys
from pathlib import Path

import pytest

from child_processes import run_child
from steadystep.lab.system.fork_server import UNGUARDED, exit_if_script_runs_again, warm_up

TESTS = Path(__file__).parents[2]
SWEEP = "sweep_for(TASK, lrs=(0.03, 0.3), seeds=1, epochs=1)"
SUCCESS = 'measurement_for("rnn-latch", lengths=(10,), arms=("SGD",), seeds=1, tune_seeds=1, epochs=1)'
CALLS = {
    "study": "from steadystep.lab.execution.run_study import run_study\nrun_study(STUDY, TASK, None, OUT, 2)",
    "study in a function": (
        "from steadystep.lab.execution.run_study import run_study\n"
        "def main(): run_study(STUDY, TASK, None, OUT, workers=3)\nmain()"
    ),
    "errors caught": (
        "from steadystep.lab.execution.run_study import run_study\n"
        "import sys\n"
        "try: run_study(STUDY, TASK, None, OUT, 2)\n"
        "except Exception as error: print(error, file=sys.stderr)"
    ),
    "sweep": (
        "from steadystep.lab.stability.declare import sweep_for\nfrom steadystep.lab.stability.run import run_sweep\n"
        f"run_sweep({SWEEP}, TASK, None, OUT, 2)"
    ),
    "success": (
        "from steadystep.lab.success.declare import measurement_for\n"
        "from steadystep.lab.success.run import run_success\n"
        f"run_success({SUCCESS}, OUT, 2)"
    ),
}


def script(call: str, folder: Path) -> str:
    return (
        f"from pathlib import Path\nfrom tiny_study import STUDY, TASK\nOUT = Path({str(folder / 'out')!r})\n{call}\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_unguarded_script_is_told_to_have_a_guard(call: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(script(call, tmp_path))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    result = run_child([sys.executable, str(tmp_path / "script.py")], cwd=tmp_path, env=environment)
    assert result.stderr.count('if __name__ == "__main__":') == 1, result.stderr
    assert result.stderr.count("Traceback") <= 2, result.stderr  # that of the message, and of what it was raised from
    assert "memory" not in result.stderr and "bootstrapping" not in result.stderr
    assert not list((tmp_path / "out" / "records").glob("*")), "nothing was trained"


@pytest.mark.slow
def test_a_guarded_script_runs(tmp_path: Path) -> None:
    call = "\n".join(f"    {line}" for line in CALLS["study"].splitlines())
    (tmp_path / "script.py").write_text(script(f'if __name__ == "__main__":\n{call}', tmp_path))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    result = run_child([sys.executable, str(tmp_path / "script.py")], cwd=tmp_path, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert list((tmp_path / "out" / "records").glob("*"))


class Exited(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("start", [warm_up, exit_if_script_runs_again])
def test_a_worker_that_imports_the_script_ends_before_it_starts_anything(
    start: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(code: int) -> None:
        assert code == UNGUARDED
        raise Exited

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(Exited):
        start()  # pyright: ignore[reportCallIssue]
