"""`python -m benchmarks.cluster`: compare the throughput of a local Ray cluster with that of processes.

Both executors train the same trials of the digits network, each alone and some seconds long, with one worker per core.
They take turns. A round begins when the workers have started and ends with the last record.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.written_block import publish
from steadystep.lab.execution.cluster import Cluster, connected
from steadystep.lab.execution.executor import make_executor
from steadystep.lab.execution.observer import Silent
from steadystep.lab.execution.store import Store, StoredStudy
from steadystep.lab.execution.worker import Job
from steadystep.lab.study.spec import study_for
from steadystep.lab.tasks import find_task
from steadystep.lab.training.environment import this_environment
from steadystep.lab.training.trial import Trial

RESULTS = Path(__file__).parent / "results" / "cluster.json"
PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "cluster.md"
EPOCHS, PER_WORKER, ROUNDS = 160, 3, 4


def measure() -> dict[str, Any]:
    """Measure the seconds of every round with each executor; the first round, which loads kernels, is left out."""
    task, cores = find_task("digits-mlp"), os.cpu_count() or 1
    splits = task.load(None)
    seconds: dict[str, list[float]] = {"processes": [], "ray": []}
    lengths: list[float] = []
    with tempfile.TemporaryDirectory() as scratch, connected(Cluster(), cores):
        executors = {}
        for name in seconds:
            folder = Path(scratch) / name
            Store(folder).declare(
                StoredStudy(study=study_for(task), task_version=task.version, data=splits.fingerprint)
            )
            job = Job(task, None, folder, checkpoint_seconds=5.0)
            executors[name] = make_executor(job, splits, cores, Cluster() if name == "ray" else None)
        for number in track(range(ROUNDS + 1), "rounds", console=Console(stderr=True)):
            trials = [
                Trial(
                    task=task.name, data=splits.fingerprint, optimizer="Adam", lr=0.01, epochs=EPOCHS, batch_size=64,
                    seed=number * 1_000 + seed, role="final",
                )
                for seed in range(PER_WORKER * cores)
            ]  # fmt: skip
            for name, executor in executors.items():
                started = time.perf_counter()
                records = executor.run(trials, Silent())
                if number:
                    seconds[name].append(time.perf_counter() - started)
                    lengths += [record.times.wall_seconds for record in records.values()]
        for executor in executors.values():
            executor.close()
    return {
        "environment": this_environment("float32").model_dump(),
        "workers": cores,
        "trials": PER_WORKER * cores,
        "trial_seconds": median(lengths),
        "round_seconds": seconds,
        "throughput": median(a / b for a, b in zip(seconds["processes"], seconds["ray"], strict=True)),
    }


def sentence(found: dict[str, Any]) -> str:
    """Return what was measured, for the page about clusters."""
    ratios = [a / b for a, b in zip(found["round_seconds"]["processes"], found["round_seconds"]["ray"], strict=True)]
    return (
        f"On one machine ({found['environment']['processor']}, {found['workers']} workers), a Ray cluster trained "
        f"{found['throughput']:.2f} times as many trials per second as worker processes did: the median of "
        f"{len(ratios)} pairs of rounds that took turns ({min(ratios):.2f} to {max(ratios):.2f}), with trials of "
        f"{found['trial_seconds']:.1f} s."
    )


def main() -> None:
    found = measure()
    publish(found, RESULTS, sentence(found), PAGE, "throughput", "python -m benchmarks.cluster")


if __name__ == "__main__":
    main()
