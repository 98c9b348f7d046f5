"""Diagnose one run of the benchmark, or let the baselines watch it, and record what is said."""

import json
import os
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.doctor.baselines import BASELINES
from benchmarks.doctor.healthy import healthy
from benchmarks.doctor.planted import PLANTED
from benchmarks.doctor.planted.case import HELD_OUT
from benchmarks.doctor.records import ROOT, Key, Record
from benchmarks.doctor.reports import FILES, Reported
from benchmarks.doctor.run import Run

SAID = ("culprit", "place", "step", "sentence", "fix", "verified", "held", "healthy")

by_name = {case.name: case for case in PLANTED}
in_files = {(case.kind, case.name): case for case in FILES}
KINDS = {case.kind for case in FILES}


def judge(key: Key) -> Record:
    """Return the record of one run. An error of the engine is recorded, and counts as a diagnosis of nothing."""
    kind, name, seed = key
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    about, make = _about(kind, name, seed)
    record: Record = {"kind": kind, "name": name, "seed": seed, **about}
    started = time.perf_counter()
    if kind.startswith("baselines"):
        record["baselines"] = {who: asdict(rule(make)) for who, rule in BASELINES.items()}
    elif kind in KINDS:
        record.update(_from_command_line(in_files[kind, name]))
    else:
        record.update(_diagnosed(make))
    return {**record, "seconds": round(time.perf_counter() - started, 2)}


def _about(kind: str, name: str, seed: int) -> tuple[Record, Callable[[], Run]]:
    """Return what is expected of a diagnosis, and how to build the run."""
    if kind.endswith("healthy"):
        run = healthy(seed)
        return {"program": run.program, "held_out": run.program in HELD_OUT, "expected": [], "places": []}, run.make
    if kind in KINDS:
        case = in_files[kind, name]
        return {"expected": case.culprits, "places": case.places}, lambda: Run(*[None] * 4)  # pyright: ignore
    planted = by_name[name]
    about = {
        "program": planted.program,
        "held_out": planted.held_out,
        "expected": [planted.culprit],
        "places": planted.places(seed),
    }
    return about, lambda: planted.make(seed)


def _diagnosed(make: Callable[[], Run]) -> Record:
    import steadystep

    try:
        result: Any = steadystep.diagnose(make())  # pyright: ignore[reportAttributeAccessIssue]
    except Exception:  # noqa: BLE001 whatever the engine raises is a result of the benchmark
        return {"culprit": None, "error": traceback.format_exc(limit=-4)}
    return {name: getattr(result, name) for name in SAID}


def _from_command_line(case: Reported) -> Record:
    run = f"{case.file}:make_run"
    command = [sys.executable, "-m", "steadystep", "doctor", "--run", run, "--json"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # as in this process: two runs share two cores
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=alone, check=False)
    try:
        said = json.loads(done.stdout)
    except json.JSONDecodeError:
        return {"culprit": None, "error": f"exit code {done.returncode}: {done.stderr[-2000:]}"}
    return {"exit_code": done.returncode, **{name: said.get(name) for name in SAID}}
