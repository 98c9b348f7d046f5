"""`python -m benchmarks.images [FOLDER]`: measure the images per second of each ImageNet pipeline stage on one thread.

FOLDER contains parquet files with original images; default: ../shared/data/imagenet-sample-100. Prints a table and
writes benchmarks/results/images.json.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from benchmarks.interleaved import race
from steadystep.lab.system.atomic import write_atomic
from steadystep.lab.tasks.image_decode import decode, random_view, read, to_tensor
from steadystep.lab.tasks.networks.resnet import resnet
from steadystep.lab.tasks.pipeline import collate
from steadystep.lab.training.environment import this_environment

ROOT = Path(__file__).parents[1]
FOLDER = ROOT.parent / "shared" / "data" / "imagenet-sample-100"
RESULTS = Path(__file__).parent / "results" / "images.json"
IMAGES = 32
SIZE = 224
SECONDS = 60.0
"""Seconds for all stages together."""


def measure(folder: Path, seconds: float = SECONDS) -> dict[str, Any]:
    """Measure the median images per second of each stage on the same images.

    The stages take turns. Each stage gets the output of the previous one.
    """
    files = sorted(map(str, folder.glob("*.parquet")))
    rows: Any = datasets.load_dataset("parquet", data_files=files, split="train")
    rows = rows.cast_column("image", datasets.Image(decode=False))
    places = range(IMAGES)
    contents = [read(rows[place]["image"]) for place in places]
    images = [decode(content) for content in contents]
    views = [random_view(image, SIZE, place, 0) for place, image in enumerate(images)]
    tensors = [to_tensor(view) for view in views]
    labels = [rows[place]["label"] for place in places]
    x, y, _ = collate(tensors, labels, places)
    stages: dict[str, Callable[[], object]] = {
        "read": lambda: [read(rows[place]["image"]) for place in places],
        "decode": lambda: [decode(content) for content in contents],
        "crop and resize": lambda: [random_view(image, SIZE, place, 0) for place, image in enumerate(images)],
        "to tensor": lambda: [to_tensor(view) for view in views],
        "collate": lambda: collate(tensors, labels, places),
        "forward and backward, ResNet-18": _training(x, y),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        timings = race(stages, seconds, least_rounds=3)
    finally:
        torch.set_num_threads(threads)
    pixels = sum(image.width * image.height for image in images) / IMAGES
    return {
        "environment": this_environment("float32").model_dump(),
        "images": IMAGES,
        "size": SIZE,
        "mean_megapixels": pixels / 1e6,
        "stages": {
            name: {"images_per_second": IMAGES / timing.median_ms * 1e3, **asdict(timing)}
            for name, timing in timings.items()
        },
    }


def _training(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
    model = resnet(18).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    x = x.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        model.zero_grad()
        functional.cross_entropy(model(x), y).backward()

    return step


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if not any(folder.glob("*.parquet")):
        sys.exit(f"benchmarks.images: no parquet files in {folder}: pass a folder that contains some")
    found = measure(folder)
    RESULTS.parent.mkdir(exist_ok=True)
    write_atomic(RESULTS, json.dumps(found, indent=1).encode())
    table = Table("stage", "images per second", "ms per image", title=f"{IMAGES} images, to {SIZE}x{SIZE}, one thread")
    for name, stage in found["stages"].items():
        table.add_row(name, f"{stage['images_per_second']:,.0f}", f"{stage['median_ms'] / IMAGES:.3f}")
    console = Console()
    console.print(table)
    console.print(f"written: {RESULTS}", soft_wrap=True)


if __name__ == "__main__":
    main()
