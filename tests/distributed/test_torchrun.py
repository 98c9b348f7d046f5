"""A study under torchrun: the records of one process, also after a process was killed and started again."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import torchrun_study
from steadystep.lab.execution.run_study import run_study
from tiny_study import CALM_TASK, STUDY, TRIALS_IN_ALL, numbers


def torchrun(folder: Path, *arguments: str, max_restarts: int = 0) -> list[dict[str, Any]]:
    """Run the study in two processes, and return what each of them ended with."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", str(max_restarts),
        "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--monitor-interval", "0.1",
        torchrun_study.__file__, str(folder), *arguments,
    ]  # fmt: skip
    path = os.pathsep.join([str(Path(torchrun_study.__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_a_killed_process_costs_nothing_but_time(tmp_path: Path) -> None:
    undisturbed = torchrun(tmp_path / "undisturbed", "noisy")
    killed = torchrun(tmp_path / "killed", "noisy", "8", max_restarts=1)
    assert [end["restarts"] for end in (*undisturbed, *killed)] == [0, 0, 1, 1]
    first, *others = [end["records"] for end in (*undisturbed, *killed)]
    assert len(first) == TRIALS_IN_ALL
    assert all(other == first for other in others)
    assert not [*(tmp_path / "killed" / "checkpoints").iterdir()]


def test_the_records_are_those_of_one_process(tmp_path: Path) -> None:
    together, *_ = torchrun(tmp_path / "together", "calm")
    alone = run_study(STUDY, CALM_TASK, None, tmp_path / "alone", replicas=1)
    expected = [record for group in (alone.tuning, alone.final) for cell in group.values() for record in cell]
    assert together["records"].keys() == {record.trial.id for record in expected}
    for record in expected:
        found, wanted = together["records"][record.trial.id], numbers(record)
        assert (found["ranks"], found["flops"], found["steps"]) == (2, wanted["flops"], wanted["steps"])
        for name in ("train_loss", "val_loss", "norm_before", "norm_after"):
            assert found["curve"][name] == pytest.approx(wanted["curve"][name], rel=1e-4), (record.trial, name)
        losses = [[record[name] or 0.0 for name in ("val_loss", "test_loss")] for record in (found, wanted)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
