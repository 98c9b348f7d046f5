"""Write docs/how-large.md: what the paper's ImageNet rows would take, computed from the task and the published records.

What the records cannot tell (the speed and the price of GPUs) is assumed, and stands at the top of the page.
"""

import json
import math
import statistics
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from steadystep.lab.execution.run_study import read_study
from steadystep.lab.statistics.intervals import paired_differences
from steadystep.lab.statistics.verdicts import seeds_needed
from steadystep.lab.tasks import find_task
from steadystep.lab.tasks.task import Claim, Task
from steadystep.lab.training.flops import flops_per_step
from steadystep.lab.training.record import Record

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "how-large.md"
RESULTS = ROOT / "docs" / "results"

TRAIN, VAL, TEST = 1_268_355, 12_812, 50_000
"""Images of ImageNet as `imagenet-resnet` splits them: 99% and 1% of the training set, and the validation set."""

PEAK, SHARE, PRICE = 989e12, 0.08, 2.5
"""Assumed: dense bfloat16 FLOP/s of an H100 or H200 (NVIDIA's data sheet), the share of it that training reaches, and
US dollars per GPU and hour. Residual networks wait for memory, so that their share is far below that of a transformer.
"""

CLUSTERS = (8, 64)
BUDGETS = (50, 200, 1_000, 5_000)
SETTINGS, ARMS = 4, 3
SIZE = 224


@dataclass(frozen=True)
class Design:
    """A study of three arms, each tuned at the whole budget of epochs."""

    depth: int
    epochs: int
    seeds: int

    @property
    def runs(self) -> int:
        return ARMS * (SETTINGS + self.seeds)

    @property
    def hours(self) -> float:
        """GPU hours of all its runs."""
        return self.runs * run_flops(self.depth, self.epochs) / (PEAK * SHARE) / 3600

    @property
    def cost(self) -> float:
        return self.hours * PRICE

    def __str__(self) -> str:
        return f"ResNet-{self.depth}, {self.epochs} epochs, {self.seeds} seeds"


def task_of(depth: int) -> Task:
    """Return the task with a network of this depth."""
    return find_task("imagenet-resnet" if depth == 50 else f"imagenet-resnet:{depth}")


def run_flops(depth: int, epochs: int) -> float:
    """Return the FLOPs of a run: forward and backward over the training images, and forward over the others."""
    task = task_of(depth)
    batch = task.batch_size
    images = torch.zeros(batch, 3, SIZE, SIZE), torch.zeros(batch, dtype=torch.long)
    per_image = flops_per_step(task, *images) / batch
    return per_image * (epochs * (TRAIN // batch * batch) + (epochs * VAL + TEST) / 3)


def spreads() -> dict[str, float]:
    """Return the median standard deviation of the paired differences of each published study of images, in accuracy."""
    found = {}
    for folder in sorted(RESULTS.glob("*/study.json")):
        results = read_study(folder.parent)
        if results.task.name.startswith(("cifar10", "tiny-imagenet")) and len(results.study.arms) > 1:
            accuracies = [_accuracies(results.final[arm.name, results.study.epochs]) for arm in results.study.arms]
            found[folder.parent.name] = statistics.median(
                statistics.stdev(paired_differences(one, other)) for one, other in combinations(accuracies, 2)
            )
    return found


def _accuracies(records: Sequence[Record]) -> list[float]:
    """Return the test accuracies of the final runs of an arm."""
    return [record.test_accuracy for record in records if record.test_accuracy is not None]


def seeds_for(spread: float, margin: float) -> int:
    """Return the seeds that show arms of the same accuracy to be equivalent, with a probability of 80%."""
    alike = np.array([-1.0, 1.0]) * spread / math.sqrt(2.0)  # a mean of 0 and this standard deviation
    seeds = seeds_needed(alike, margin, ARMS)
    assert seeds is not None, "the differences vary"
    return seeds


def largest(budget: float, seeds: int) -> Design | None:
    """Return the first of the designs, from the paper's own down to a small one, that the budget pays for."""
    designs = (Design(depth, epochs, seeds) for depth, epochs in ((50, 150), (50, 90), (50, 30), (50, 18), (18, 18)))
    return next((design for design in designs if design.cost <= budget), None)


def processor() -> tuple[str, float]:
    """Return the processor of the published CIFAR-10 study, and the FLOP/s of its runs."""
    results = read_study(RESULTS / "cifar10-cnn")
    records = [record for runs in results.final.values() for record in runs]
    rates = [record.flops / record.steps / (record.times.step_ms / 1e3) for record in records if record.flops]
    return records[0].environment.processor, statistics.median(rates)


def decoded_per_second() -> float:
    """Return the images that one core decodes and crops in a second, as `python -m benchmarks.images` measured them."""
    stages = json.loads((ROOT / "benchmarks" / "results" / "images.json").read_bytes())["stages"]
    names = ("read", "decode", "crop and resize", "to tensor", "collate")
    return 1.0 / sum(1.0 / stages[name]["images_per_second"] for name in names)


def page() -> str:
    """Return the whole page as Markdown."""
    return "\n\n".join(_blocks()) + "\n"


def _blocks() -> Iterator[str]:
    name, rate = processor()
    measured = spreads()
    spread, margin = max(measured.values()), task_of(50).margin
    seeds = seeds_for(spread, margin)
    images = PEAK * SHARE / (run_flops(50, 1) / TRAIN)
    full = Design(50, 150, seeds)
    yield from (
        "# How large a study?",
        paragraph(
            "The paper's Table 1 has three rows for ImageNet. Nobody has run them here: this page says what they would "
            "take, and which study a given sum pays for. It is written by `docs/write_how_large.py` from the task "
            "`imagenet-resnet`, whose FLOPs are counted, and from the published records."
        ),
        "Assumed, because no record tells it:",
        f"- A GPU trains with {SHARE:.0%} of {PEAK / 1e12:.0f} TFLOP/s, the dense bfloat16 peak of an H100 or H200: "
        f"{images:,.0f} images a second.\n"
        f"- An hour of a GPU costs {PRICE:.2f} US dollars.\n"
        "- Trials are independent, so that a study uses as many GPUs as it has trials, without loss.",
        paragraph(
            "At half the share everything takes twice as long and costs twice as much. So many images a second keep "
            f"{images / decoded_per_second():.0f} cores busy with decoding and cropping, at the speed in "
            "`benchmarks/results/images.json`."
        ),
        "## One run of each row { #one-run }",
        paragraph(
            f"A step of ResNet-50 takes {run_flops(50, 1) / TRAIN / 1e9:.1f} GFLOP per image, forward and backward. "
            f"The last column is the time on one core of the processor of the CIFAR-10 study ({name}), at the "
            f"{rate / 1e9:.0f} GFLOP/s that its records show in float32."
        ),
        table(
            ("row of the paper", "FLOP", "hours on one GPU", "cost", "on a core of a processor"),
            [_row(arm, claim, rate) for arm, claim in task_of(50).claims.items()],
        ),
        "## A study that decides { #a-study }",
        paragraph(
            f"One run of each arm decides nothing. The arms of `imagenet-resnet` count as equivalent within "
            f"{margin:.1%}. To show that of arms which are equally good, with a probability of 80%, a study needs "
            f"(z(1 − 0.05 / {ARMS}) + z(0.8))² s² / margin² seeds, where s is the standard deviation of paired "
            "differences. The published studies of images have:"
        ),
        table(
            ("study", "s (points)", "seeds"),
            [
                (f"[{study}](results/{study}/summary.md)", f"{100 * found:.2f}", f"{seeds_for(found, margin)}")
                for study, found in measured.items()
            ],
        ),
        paragraph(
            "Longer training and more test images make s smaller: ImageNet has five times the test images of CIFAR-10. "
            f"With the largest of these, and {SETTINGS} settings tried per arm at the whole budget of 150 epochs, the "
            f"study is {full.runs} runs: {full.hours:,.0f} GPU hours, USD {full.cost:,.0f}."
        ),
        table(("GPUs", "days"), [(str(gpus), f"{_days(full, gpus):.1f}") for gpus in CLUSTERS]),
        "## What a sum pays for { #budgets }",
        paragraph(
            "The first of these designs that the sum pays for: the paper's 150 epochs, the usual 90, 30 and 18 epochs "
            "of ResNet-50, 18 epochs of ResNet-18."
        ),
        table(
            ("at most", "design", "runs", "GPU hours", "cost", *(f"days on {gpus} GPUs" for gpus in CLUSTERS)),
            [_paid_by(budget, seeds) for budget in BUDGETS],
        ),
        paragraph(
            "A group-sequential study ends at its first look if the arms differ clearly, and then costs less; see "
            "[verdicts](verdicts.md). To run a design, declare it in a study file and give it to a "
            "[cluster](how-to/cluster.md):"
        ),
        "```sh\nsteadystep reproduce --study imagenet.yaml --executor ray --address auto --device cuda --data DIR\n```",
    )


def paragraph(text: str) -> str:
    """Break a text into lines."""
    return textwrap.fill(text, 118)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def _row(arm: str, claim: Claim, rate: float) -> tuple[str, ...]:
    flops = run_flops(50, claim.epochs)
    hours, years = flops / (PEAK * SHARE) / 3600, flops / rate / 3600 / 24 / 365
    what = f"{arm}, {claim.epochs} epochs: {claim.accuracy:.1%}"
    return what, f"{flops:.1e}", f"{hours:.0f}", f"USD {hours * PRICE:,.0f}", f"{years:.1f} years"


def _paid_by(budget: float, seeds: int) -> tuple[str, ...]:
    design = largest(budget, seeds)
    if design is None:
        return f"USD {budget:,}", "none of them", *["–"] * (3 + len(CLUSTERS))
    days = [f"{_days(design, gpus):.1f}" for gpus in CLUSTERS]
    return f"USD {budget:,}", str(design), str(design.runs), f"{design.hours:,.0f}", f"USD {design.cost:,.0f}", *days


def _days(design: Design, gpus: int) -> float:
    """Return the days on so many GPUs: tuning first, then the final runs, each in whole rounds of one run per GPU."""
    run_hours = run_flops(design.depth, design.epochs) / (PEAK * SHARE) / 3600
    rounds = sum(math.ceil(ARMS * runs / gpus) for runs in (SETTINGS, design.seeds))
    return rounds * run_hours / 24


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
