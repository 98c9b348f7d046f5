"""Run the cases with guarded pages in another process, which is started again after each case that ends it."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MOST_DEATHS = 20
"""After so many the rest would say nothing new."""


def _run_in_child(*arguments: str) -> subprocess.CompletedProcess[str]:
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), tests]))
    command = [sys.executable, "-m", "memory.guarded_child", *arguments]
    # Threads of torch that wait for work must not take the time of those that have some.
    environment = {**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "passive"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def problems(name: str) -> list[str]:
    """Return a line for each case of a set, by its name, that left its pages or failed in another way."""
    found: list[str] = []
    first = deaths = 0
    while deaths < MOST_DEATHS:
        child = _run_in_child(name, str(first))
        lines = [line.split(" ", 2) for line in child.stdout.splitlines()]
        found += [case for word, _, case in filter(_has_case, lines) if word == "failed"]
        if child.returncode == 0 and lines[-1][0] == "done":
            break
        started = [line for line in lines if line[0] == "running"]
        if not started:
            return [*found, f"no case was started: {child.stderr}"]
        found.append(f"{_end_of(child.returncode)}: {started[-1][2]}{_place_of(child.stderr)}")
        first, deaths = int(started[-1][1]) + 1, deaths + 1
    return found


def _has_case(line: Sequence[str]) -> bool:
    return len(line) == 3


def _end_of(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


def _place_of(stderr: str) -> str:
    """Return the innermost line of this package in the traceback of faulthandler."""
    inside = [line.strip() for line in stderr.splitlines() if line.strip().startswith("File") and "steadystep" in line]
    return f" ({inside[0]})" if inside else ""


def main() -> None:
    """Print the problems of a set of cases: `python -m memory.guarded_parent SET`."""
    print(*problems(*sys.argv[1:]), sep="\n")


if __name__ == "__main__":
    main()
