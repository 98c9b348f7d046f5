"""Numbers on their way from a device: nothing waits for them, and they arrive a few steps later."""

from collections import deque
from collections.abc import Iterator

import numpy as np
import torch

BEHIND = 4
"""How many later ones are sent before the host reads numbers from a device that cannot tell when they are there."""


class Late:
    """Vectors that are copied to the host, in the order in which they were sent."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, torch.Tensor, torch.cuda.Event | None]] = deque()

    def send(self, step: int, numbers: torch.Tensor) -> None:
        """Start to copy the numbers of a step."""
        if not numbers.is_cuda:
            self._waiting.append((step, numbers, None))
            return
        landing = torch.empty(numbers.shape, dtype=numbers.dtype, device="cpu", pin_memory=True)
        landing.copy_(numbers, non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(numbers.device))
        self._waiting.append((step, landing, event))

    def arrived(self, wait: bool = False) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the steps and numbers that have arrived; all of them if the host may wait."""
        while self._waiting:
            step, numbers, event = self._waiting[0]
            if event is not None and wait:
                event.synchronize()
            there = wait or (len(self._waiting) > BEHIND if event is None else event.query())
            if not there:
                return
            self._waiting.popleft()
            yield step, numbers.cpu().numpy()
