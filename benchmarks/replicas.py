"""`python -m benchmarks.replicas`: the digits' trials in replicas, against one by one, in turns.

With one worker process, and with one for each core: both sides get the same. And what no batching can go below: the
bare products of matrices that a trial is made of, one after the other in one thread, with everything in the cache.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from steadystep.lab.study.atomic import write_atomic
from steadystep.lab.study.environment import this_environment
from steadystep.lab.study.executor import make_executor
from steadystep.lab.study.observer import Silent
from steadystep.lab.study.processor import computing_alike
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
    products, alone = _products(rounds), found["1 workers"]["trials_per_second_one_by_one"]
    found["products_alone"] = {"trials_per_second": 1 / products, "ratio": 1 / products / alone}
    return found


def _products(rounds: int) -> float:
    """Seconds that a trial's products of matrices take: outputs and both gradients of every layer, in every step."""
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
            if x is not made[0][0]:  # nobody wants the images' gradient
                torch.mm(y, W, out=of_x)

    taken = []
    with computing_alike(), torch.no_grad():
        for _ in range(10 * rounds):
            started = time.perf_counter()
            for _ in range(trial.epochs * (examples // trial.batch_size)):
                step()
            taken.append(time.perf_counter() - started)
    return median(taken)


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
    bare = found["products_alone"]
    print(
        f"the products of matrices alone: {bare['trials_per_second']:.1f} trials a second of one worker, "
        f"{bare['ratio']:.1f} times as many as one by one"
    )
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
