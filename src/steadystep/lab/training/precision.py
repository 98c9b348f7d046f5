"""Which precision trains a task fastest on this machine, by measurement."""

from collections.abc import Callable
from statistics import median

import torch

from steadystep.lab.choices import Precision
from steadystep.lab.tasks.task import Splits, Task
from steadystep.lab.training.device import CPU, computing_on, now
from steadystep.lab.training.evaluation import at_least_float32
from steadystep.lab.training.processor import computing_alike

GAIN = 1.15
"""How much faster bfloat16 has to be to be worth its rounding."""

EXAMPLES = 256
ROUNDS = 3


def fastest(task: Task, splits: Splits, say: Callable[[str], None], device: torch.device = CPU) -> Precision:
    """bfloat16 autocast where it trains a convolutional task at least 1.15 times as fast as float32, else float32.

    Many processors compute bfloat16 convolutions slower than float32 ones: forward and backward passes in both take
    turns here, on one thread, and `say` is told what they took. Tasks without convolutions keep float32.
    """
    if not task.recipe.channels_last:
        return "float32"
    x, y, _ = next(splits.train.stream(torch.arange(min(EXAMPLES, len(splits.train))), EXAMPLES, 0)).to(device)
    with computing_alike(), computing_on(device):
        model = task.model().to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        x = x.float().contiguous(memory_format=torch.channels_last)
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(1 + ROUNDS):
            for half, taken in seconds.items():
                taken.append(_seconds(task, model, x, y, half, device))
    ratio = median(seconds[False][1:]) / median(seconds[True][1:])
    chosen: Precision = "bfloat16" if ratio >= GAIN else "float32"
    say(f"bfloat16 takes {1 / ratio:.2f} times as long as float32 on this machine: training in {chosen}")
    return chosen


def _seconds(
    task: Task, model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, half: bool, device: torch.device
) -> float:
    started = now(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        outputs = model(x)
    task.recipe.loss(at_least_float32(outputs), y).backward()
    return now(device) - started
