"""`python -m benchmarks.replicas`: the digits' trials in replicas, against one by one, in turns.

With one worker process, and with one for each core: both sides get the same.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from steadystep.lab.study.atomic import write_atomic
from steadystep.lab.study.environment import this_environment
from steadystep.lab.study.executor import make_executor
from steadystep.lab.study.observer import Silent
from steadystep.lab.study.spec import study_for
from steadystep.lab.study.store import Store, StoredStudy
from steadystep.lab.study.trial import Clip, Trial
from steadystep.lab.study.worker import Job
from steadystep.lab.tasks import find_task

RESULTS = Path(__file__).parent / "results" / "replicas.json"
REPLICAS = 32
ROUNDS = 5


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Trials a second of clipped Adam on digits-mlp, 4 epochs each: medians over the rounds after the first."""
    found: dict[str, Any] = {"environment": this_environment("float32").model_dump(), "replicas": REPLICAS}
    for workers in sorted({1, os.cpu_count() or 1}):
        rates = _rates(workers, rounds)
        together, alone = (median(rates[replicas]) for replicas in (REPLICAS, 1))
        found[f"{workers} workers"] = {
            "trials_per_second_in_replicas": together,
            "trials_per_second_one_by_one": alone,
            "ratio": together / alone,
            "rounds": {str(replicas): some for replicas, some in rates.items()},
        }
    return found


def _rates(workers: int, rounds: int) -> dict[int, list[float]]:
    task = find_task("digits-mlp")
    splits = task.load(None)
    trials_of = {REPLICAS: REPLICAS * workers, 1: 8 * workers}
    rates: dict[int, list[float]] = {replicas: [] for replicas in trials_of}
    with tempfile.TemporaryDirectory() as scratch:
        executors = {}
        for replicas in trials_of:
            folder = Path(scratch) / str(replicas)
            Store(folder).declare(
                StoredStudy(study=study_for(task), task_version=task.version, data=splits.fingerprint)
            )
            job = Job(task, None, folder, checkpoint_seconds=3600.0, replicas=replicas)
            executors[replicas] = make_executor(job, splits, workers)
        for number in range(rounds + 1):
            for replicas, executor in executors.items():
                first = 10_000 * number
                trials = [_trial(seed, splits.fingerprint) for seed in range(first, first + trials_of[replicas])]
                started = time.perf_counter()
                executor.run(trials, Silent())
                if number:  # the first starts processes and loads kernels
                    rates[replicas].append(len(trials) / (time.perf_counter() - started))
        for executor in executors.values():
            executor.close()
    return rates


def _trial(seed: int, data: str) -> Trial:
    return Trial(
        task="digits-mlp", data=data, optimizer="Adam", lr=0.01, clip=Clip(kind="norm", threshold=0.1), epochs=4,
        batch_size=64, seed=seed, role="final",
    )  # fmt: skip


def main() -> None:
    found = measure()
    RESULTS.parent.mkdir(exist_ok=True)
    write_atomic(RESULTS, json.dumps(found, indent=1).encode())
    for name, row in found.items():
        if name.endswith("workers"):
            print(
                f"{name}: {row['trials_per_second_in_replicas']:.1f} trials a second in {REPLICAS} replicas, "
                f"{row['trials_per_second_one_by_one']:.1f} one by one: {row['ratio']:.1f} times as many"
            )
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
