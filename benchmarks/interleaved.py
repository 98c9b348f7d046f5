"""Contestants measured in turns: what slows the machine down for a while slows them all."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles

Contestants = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Timing:
    """One contestant's rounds, in milliseconds a call."""

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
    """Let all take turns for about so many seconds.

    A turn is one call, or as many as fill `burst_ms`: a clock cannot see less, and a training loop calls a step whose
    code is warm. `finish` ends a turn: it waits for what was only started.
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
    for _ in range(3):  # compiles, allocates, warms up
        contestant()
    finish()
    started = time.perf_counter()
    contestant()
    finish()
    return max(1, round(burst_ms / (1e3 * (time.perf_counter() - started))))


def _timing(times: list[float]) -> Timing:
    first, _, third = quantiles(times, n=4)
    return Timing(median(times), (first, third), min(times))
