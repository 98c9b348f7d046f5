"""Time several contestants in turns, so that a temporary slowdown of the machine affects all of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles

Contestants = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Timing:
    """Statistics over the rounds of one contestant, in milliseconds per call."""

    median_ms: float
    quartiles_ms: tuple[float, float]
    fastest_ms: float


def race(
    contestants: Contestants,
    seconds: float,
    burst_ms: float = 2.0,
    least_rounds: int = 12,
    finish: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Time all contestants in turns for about `seconds` seconds.

    A turn is one call, or as many calls as fill `burst_ms`: shorter times are below the resolution of the clock, and in
    a training loop the code of a step is warm too. `finish` is called at the end of a turn and waits for asynchronous
    work.
    """
    calls = {name: _calls(contestant, burst_ms, finish) for name, contestant in contestants.items()}
    turns: dict[str, list[float]] = {name: [] for name in contestants}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(turns.values()))) < least_rounds:
        for name, contestant in contestants.items():
            started = time.perf_counter()
            for _ in range(calls[name]):
                contestant()
            finish()
            turns[name].append(1e3 * (time.perf_counter() - started) / calls[name])
    return {name: _timing(times) for name, times in turns.items()}


def _calls(contestant: Callable[[], object], burst_ms: float, finish: Callable[[], object]) -> int:
    for _ in range(3):  # compile, allocate, warm up
        contestant()
    finish()
    started = time.perf_counter()
    contestant()
    finish()
    return max(1, round(burst_ms / (1e3 * (time.perf_counter() - started))))


def _timing(times: list[float]) -> Timing:
    first, _, third = quantiles(times, n=4)
    return Timing(median(times), (first, third), min(times))
