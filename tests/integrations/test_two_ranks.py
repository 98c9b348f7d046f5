"""Every trainer on two ranks, replicated and sharded: one verdict and one norm for all."""

import json
import os
import socket
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from integrations.raw_loop import CULPRIT, LR

TESTS = Path(__file__).parents[1]


def outputs(trainer: str, sharding: str, folder: Path) -> list[tuple[dict[str, Any], str]]:
    """Return what each rank has left, and what it has written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "integrations.two_ranks", trainer, sharding, str(folder)]
    processes = []
    for rank in range(2):
        world = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        network = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GROUP_RANK": "0", "OMP_NUM_THREADS": "1"}
        network["TORCHELASTIC_RUN_ID"] = "two"  # Lightning would start a second process of its own
        environment = {**os.environ, **world, **network, "PYTHONPATH": str(TESTS)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, cwd=folder, env=environment, **pipes))  # type: ignore[call-overload]
    found = []
    for process in processes:
        written, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors[-4000:]
        (line,) = [line for line in written.splitlines() if line.startswith("RESULT ")]
        found.append((json.loads(line.removeprefix("RESULT ")), errors))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["replicated", "sharded"])
@pytest.mark.parametrize("trainer", ["accelerate", "lightning", "transformers"])
def test_all_ranks_refuse_what_one_cannot_take(trainer: str, sharding: str, tmp_path: Path) -> None:
    if find_spec(trainer) is None:
        pytest.skip(f"{trainer} is not installed")
    if (trainer, sharding) == ("transformers", "sharded") and version("accelerate").startswith("1.10."):
        pytest.skip("under transformers, accelerate 1.10 refuses FSDP on a machine without an accelerator")
    (first, told), (second, told_too) = outputs(trainer, sharding, tmp_path)
    assert first == second
    assert (first["attempted"], first["applied"]) == (3, 2)
    steps = 2 * (2 if trainer == "accelerate" else 1)  # which moves a schedule once for each rank
    assert first["lr"] == pytest.approx([LR / (1 + 0.5 * steps)] * len(first["lr"]))
    (fault,) = first["faults"]
    assert fault.endswith(CULPRIT)
    assert told.count("step 2 of AdamW was refused: the gradient is not finite in ") == 1
    assert "was refused" not in told_too
