"""Measure which precision trains a task fastest on this machine."""

from collections.abc import Callable
from statistics import median

import torch

from steadystep.lab.choices import Precision
from steadystep.lab.tasks.splits import Splits
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.device import CPU, device_scope
from steadystep.lab.training.processor import cpu_settings
from steadystep.lab.training.step_time import step_seconds

GAIN = 1.15
"""Minimum speedup of bfloat16 over float32 that justifies its rounding errors."""

EXAMPLES = 256
ROUNDS = 3


def fastest_precision(task: Task, splits: Splits, say: Callable[[str], None], device: torch.device = CPU) -> Precision:
    """Return bfloat16 if it trains a convolutional task at least 1.15 times as fast as float32, otherwise float32.

    Many processors compute bfloat16 convolutions more slowly than float32 ones. This function times forward and
    backward passes in both precisions alternately, on one thread, and reports the result through `say`. Tasks without
    convolutions use float32.
    """
    if not task.recipe.channels_last:
        return "float32"
    x, y, _ = next(splits.train.stream(torch.arange(min(EXAMPLES, len(splits.train))), EXAMPLES, 0)).to(device)
    with cpu_settings(), device_scope(device):
        model = task.model().to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        x = x.float().contiguous(memory_format=torch.channels_last)
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(1 + ROUNDS):
            for autocast, times in seconds.items():
                times.append(step_seconds(task, model, x, y, autocast, device))
    ratio = median(seconds[False][1:]) / median(seconds[True][1:])
    chosen: Precision = "bfloat16" if ratio >= GAIN else "float32"
    say(f"bfloat16 takes {1 / ratio:.2f} times as long as float32 on this machine: training in {chosen}")
    return chosen
