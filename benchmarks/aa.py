"""`python -m benchmarks.aa`: how often a whole study of two identical arms ends with a false verdict.

Both arms are Adam on digits-mlp, tuned and run like the arms of a study, but each is tuned with seeds of its own. So
they may end with different learning rates, and whatever that does to the verdict is the luck of tuning. Each study has
seeds that no other has. Trials are kept in studies/aa, so that the command goes on where it was stopped; the outcome is
written to benchmarks/results/aa.json and to docs/verdicts.md.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks.error_rates import PAGE, ROOT
from benchmarks.written_block import with_block
from steadystep.lab.execution.observer import Silent
from steadystep.lab.execution.stage_runner import allowed_replicas, stage_runner
from steadystep.lab.execution.store import Store, StoredStudy
from steadystep.lab.execution.worker import Job
from steadystep.lab.statistics.intervals import wilson_interval
from steadystep.lab.statistics.summary import Verdict
from steadystep.lab.statistics.verdicts import judge_looks, paired_accuracies
from steadystep.lab.study.spec import study_for
from steadystep.lab.study.stages import RunStage, best_setting
from steadystep.lab.system.atomic import write_atomic
from steadystep.lab.tasks import find_task
from steadystep.lab.training.device import find_device
from steadystep.lab.training.environment import this_environment
from steadystep.lab.training.record import Record
from steadystep.lab.training.run_trial import CHECKPOINT_SECONDS
from steadystep.lab.training.trial import Trial

RESULTS = ROOT / "benchmarks" / "results" / "aa.json"
FOLDER = ROOT / "studies" / "aa"
STUDIES = 200
TOGETHER = 10
"""The number of studies whose trials are run together, so that there are enough of them to train side by side."""
WORKERS = 2
TASK = find_task("digits-mlp")
STUDY = study_for(TASK)
ARM = next(arm for arm in STUDY.arms if arm.name == "Adam")
assert STUDY.until_decided is not None
LOOKS, SPENDING = STUDY.looks, STUDY.until_decided.spending


def trial(data: str, lr: float, seed: int, role: str) -> Trial:
    return Trial.model_validate(
        {
            "task": TASK.name, "task_version": TASK.version, "data": data, "optimizer": ARM.optimizer,
            "options": ARM.options, "lr": lr, "schedule": STUDY.schedule, "epochs": STUDY.epochs,
            "batch_size": STUDY.batch_size, "seed": seed, "dtype": STUDY.dtype, "role": role,
        }
    )  # fmt: skip


def tuned(data: str, run: RunStage, studies: Sequence[int]) -> dict[tuple[int, int], float]:
    """Return the learning rate that each of the two arms of each study is given by tuning."""
    seeds = {
        (study, arm): range(first := 1_000_000 + 100 * study + 10 * arm, first + STUDY.tune_seeds)
        for study in studies
        for arm in (0, 1)
    }
    settings = {
        cell: [[trial(data, lr, seed, "tune") for seed in of_cell] for lr in ARM.lrs] for cell, of_cell in seeds.items()
    }
    records = run("tuning", [each for tried in settings.values() for setting in tried for each in setting])
    return {
        cell: best_setting([[records[each.id] for each in setting] for setting in tried]).lr
        for cell, tried in settings.items()
    }


def verdicts(data: str, run: RunStage, rates: Mapping[tuple[int, int], float]) -> dict[int, Verdict]:
    """Run the final trials of studies, with more seeds until each is decided."""
    found: dict[int, Verdict] = {}
    runs: dict[tuple[int, int], dict[int, Record]] = {cell: {} for cell in rates}
    looks: dict[int, list[Any]] = {study: [] for study, _ in rates}
    first = 0
    for last in LOOKS:
        going_on = [cell for cell in rates if cell[0] not in found or found[cell[0]].verdict == "undecided"]
        trials = {
            cell: [trial(data, rates[cell], 2_000_000 + 1000 * cell[0] + seed, "final") for seed in range(first, last)]
            for cell in going_on
        }
        records = run(f"final runs, {last} seeds", [each for of_cell in trials.values() for each in of_cell])
        for cell, of_cell in trials.items():
            runs[cell].update({each.seed: records[each.id] for each in of_cell})
        for study in {study for study, _ in going_on}:
            pair = paired_accuracies(runs[study, 1], runs[study, 0], TASK.chance)
            looks[study].append({("Adam again", "Adam"): pair})
            [found[study]] = judge_looks(looks[study], TASK.margin, LOOKS, SPENDING)
        first = last
    return found


def main() -> None:
    if sys.argv[1:] == ["--page"]:  # write the recorded outcome again
        write_page(json.loads(RESULTS.read_bytes())["studies"])
        return
    number = int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES
    console = Console()
    rows: list[dict[str, Any]] = []
    machine = this_environment("float32").model_dump()
    for row in track(run_studies(number, FOLDER), "studies", total=number, console=console):
        rows.append(row)
        found = {"environment": machine, "looks": LOOKS, "studies": rows}
        write_atomic(RESULTS, json.dumps(found, indent=1).encode())
    write_page(rows)
    console.print(words(rows))


def run_studies(number: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Run this many studies, whose trials are kept in the folder, and yield the outcome of each."""
    splits = TASK.load(None)
    replicas = allowed_replicas(TASK.replicas, TASK, splits, Silent(), find_device(None))
    job = Job(TASK, None, folder, CHECKPOINT_SECONDS, replicas, find_device(None))
    Store(folder, print).declare(StoredStudy(study=STUDY, task_version=TASK.version, data=splits.fingerprint))
    with stage_runner(job, splits, WORKERS, Silent()) as run:
        for start in range(0, number, TOGETHER):
            rates = tuned(splits.fingerprint, run, range(start, min(start + TOGETHER, number)))
            for study, verdict in sorted(verdicts(splits.fingerprint, run, rates).items()):
                difference = verdict.difference.mean
                yield {
                    "study": study, "verdict": verdict.verdict, "seeds": verdict.seeds, "difference": difference,
                    "lrs": [rates[study, 0], rates[study, 1]],
                }  # fmt: skip


def words(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the outcome as a paragraph."""
    counts = Counter(row["verdict"] for row in rows)
    wrong, number = counts["better"] + counts["worse"], len(rows)
    rate = wilson_interval(wrong, number)
    alike = [row for row in rows if row["lrs"][0] == row["lrs"][1]]
    wrong_alike = sum(row["verdict"] in ("better", "worse") for row in alike)
    apart = [abs(row["difference"]) for row in rows]
    return (
        f"Of {number} studies, {counts['equivalent']} ended with equivalent, {wrong} with better or worse "
        f"({100 * rate.mean:.1f}% [{100 * rate.low:.1f}, {100 * rate.high:.1f}]) and {counts['undecided']} undecided, "
        f"with {sum(row['seeds'] for row in rows) / number:.0f} seeds on average. The largest difference was "
        f"{100 * max(apart):.2f} points; the margin is {100 * TASK.margin:g}. Tuning chose the same learning rate for "
        f"both arms in {len(alike)} of them, of which {wrong_alike} ended with better or worse, and different ones in "
        f"{number - len(alike)}, of which {wrong - wrong_alike} did."
    )


def write_page(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the outcome into the documentation."""
    text = with_block(PAGE.read_text(encoding="utf-8"), "aa", "benchmarks/aa.py", words(rows))
    write_atomic(PAGE, text.encode())


if __name__ == "__main__":
    main()
