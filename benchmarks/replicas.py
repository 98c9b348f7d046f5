"""`python -m benchmarks.replicas`: time trials of the digits network in replicas against trials run one by one.

The two sides take turns and are compared three times: with one worker process each, with one worker process per core
each, and all cores in replicas against a single trial at a time, which uses one thread or one thread per core,
whichever is faster. A lower bound that no batching can beat is measured too: the matrix products of a trial alone, one
after the other in one thread, with all data in the cache.
"""

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from steadystep.lab.execution.executor import make_executor
from steadystep.lab.execution.observer import Silent
from steadystep.lab.execution.store import Store, StoredStudy
from steadystep.lab.execution.worker import Job
from steadystep.lab.study.spec import study_for
from steadystep.lab.system.atomic import write_atomic
from steadystep.lab.tasks import find_task
from steadystep.lab.training.environment import this_environment
from steadystep.lab.training.processor import cpu_settings
from steadystep.lab.training.run_trial import run_trial
from steadystep.lab.training.trial import Clip, Trial

RESULTS = Path(__file__).parent / "results" / "replicas.json"
REPLICAS = 32
ROUNDS = 9

TRIALS = {REPLICAS: 4 * REPLICAS, 1: 8}
"""Trials per worker in a round, by number of replicas.

With a single batch per worker, a round would mostly measure how long one worker waits for the other.
"""


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure the trials per second of clipped Adam on digits-mlp (4 epochs): medians over all rounds but the first."""
    cores = os.cpu_count() or 1
    found: dict[str, Any] = {"environment": this_environment("float32").model_dump(), "replicas": REPLICAS}
    rates = _rates(rounds, cores)
    for workers in sorted({1, cores}):
        found[f"{workers} workers"] = _compared(rates[REPLICAS, workers], rates[1, workers])
    by_threads = {1: rates[1, 1], cores: rates["all threads"]}
    threads = max(by_threads, key=lambda threads: median(by_threads[threads]))
    found["one at a time"] = {"threads": threads, **_compared(rates[REPLICAS, cores], by_threads[threads])}
    products, alone = _products(rounds), median(rates[1, 1])
    found["products_alone"] = {"trials_per_second": 1 / products, "ratio": 1 / products / alone}
    return found


def _compared(together: Sequence[float], alone: Sequence[float]) -> dict[str, Any]:
    return {
        "trials_per_second_in_replicas": median(together),
        "trials_per_second_one_by_one": median(alone),
        "ratio": median(together) / median(alone),
        "rounds": {str(REPLICAS): together, "1": alone},
    }


def _products(rounds: int) -> float:
    """Measure the seconds taken by a trial's matrix products: outputs and both gradients of every layer and step."""
    task = find_task("digits-mlp")
    trial, examples = _trial(0, ""), len(task.load(None).train)
    layers = [layer for layer in task.model().modules() if isinstance(layer, torch.nn.Linear)]
    widths = [(layer.in_features, layer.out_features) for layer in layers]
    made = [(torch.rand(trial.batch_size, i), torch.rand(o, i), torch.rand(trial.batch_size, o)) for i, o in widths]
    outputs = [(torch.empty_like(x), torch.empty_like(W), torch.empty_like(y)) for x, W, y in made]

    def step() -> None:
        for (x, W, y), (of_x, of_W, of_y) in zip(made, outputs, strict=True):
            torch.mm(x, W.T, out=of_y)
            torch.mm(y.T, x, out=of_W)
            if x is not made[0][0]:  # the gradient of the images is not needed
                torch.mm(y, W, out=of_x)

    taken = []
    with cpu_settings(), torch.no_grad():
        for _ in range(10 * rounds):
            started = time.perf_counter()
            for _ in range(trial.epochs * (examples // trial.batch_size)):
                step()
            taken.append(time.perf_counter() - started)
    return median(taken)


def _rates(rounds: int, cores: int) -> dict[Any, list[float]]:
    """Measure the rate in every round, for each (replicas, workers) and for one trial at a time with all threads."""
    task = find_task("digits-mlp")
    splits = task.load(None)
    sides = [(replicas, workers) for workers in sorted({1, cores}) for replicas in (REPLICAS, 1)]
    rates: dict[Any, list[float]] = {side: [] for side in (*sides, "all threads")}
    with tempfile.TemporaryDirectory() as scratch:
        stores = {side: Store(Path(scratch) / str(number)) for number, side in enumerate(rates)}
        for store in stores.values():
            store.declare(StoredStudy(study=study_for(task), task_version=task.version, data=splits.fingerprint))
        executors = {
            (replicas, workers): make_executor(
                Job(task, None, stores[replicas, workers].folder, checkpoint_seconds=3600.0, replicas=replicas),
                splits,
                workers,
            )
            for replicas, workers in sides
        }

        def run(side: Any, trials: Sequence[Trial]) -> None:
            if side in executors:
                executors[side].run(trials, Silent())
                return
            for trial in trials:  # as an executor does, but with torch's default number of threads
                stores[side].write(run_trial(trial, task, splits, stores[side].checkpoint(trial)))

        for number in range(rounds + 1):
            for side, found in rates.items():
                replicas, workers = (1, 1) if side == "all threads" else side
                first, count = 10_000 * number, TRIALS[replicas] * workers
                trials = [_trial(seed, splits.fingerprint) for seed in range(first, first + count)]
                started = time.perf_counter()
                run(side, trials)
                if number:  # the first round starts processes and loads kernels
                    found.append(len(trials) / (time.perf_counter() - started))
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
        if isinstance(row, dict) and "trials_per_second_in_replicas" in row:
            print(
                f"{name}: {row['trials_per_second_in_replicas']:.1f} trials per second in {REPLICAS} replicas, "
                f"{row['trials_per_second_one_by_one']:.1f} one by one: {row['ratio']:.1f} times as many"
            )
    bare = found["products_alone"]
    print(
        f"the matrix products alone: {bare['trials_per_second']:.1f} trials per second in one worker, "
        f"{bare['ratio']:.1f} times as many as one by one"
    )
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
