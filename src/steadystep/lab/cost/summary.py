"""Compute statistics of the measured times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from steadystep.lab.cost.arms import REFERENCE, CostArm
from steadystep.lab.cost.measure import Cost, CostResults


@dataclass(frozen=True)
class Quartiles:
    """The median over rounds and the interquartile range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> "Quartiles":
        """Compute the quartiles of these values.

        >>> Quartiles.of([1.0, 2.0, 3.0, 4.0, 5.0])
        Quartiles(median=3.0, low=2.0, high=4.0)
        """
        low, middle, high = np.quantile(np.asarray(values, float), (0.25, 0.5, 0.75)).tolist()
        return cls(middle, low, high)


@dataclass(frozen=True)
class CostSummary:
    """The cost of one arm."""

    arm: CostArm
    threshold: float | None
    forward_backward: Quartiles  # ms, including loading the batch
    optimizer: Quartiles  # ms, including clipping
    share: Quartiles  # time of the optimizer as a fraction of the whole step
    relative: Quartiles  # time of the optimizer divided by that of SGD in the same round
    added: Quartiles | None  # ms that the clipper adds to the optimizer in the same round; None if not clipped
    bytes_per_parameter: float


def summarise_costs(results: CostResults) -> tuple[CostSummary, ...]:
    """Summarise every arm, in the order of the measurement.

    Ratios and differences are taken within each round, so that drifts of the machine's speed cancel.
    """
    times = {cost.arm: np.asarray(cost.times.optimizer) for cost in results.costs}
    reference = times[CostArm(REFERENCE)]
    return tuple(_summary(cost, times, reference, results.parameters) for cost in results.costs)


def _summary(cost: Cost, times: Mapping[CostArm, np.ndarray], reference: np.ndarray, parameters: int) -> CostSummary:
    rest, optimizer = np.asarray(cost.times.forward_backward), times[cost.arm]
    twin = times.get(CostArm(cost.arm.optimizer)) if cost.arm.clip else None
    return CostSummary(
        arm=cost.arm,
        threshold=cost.threshold,
        forward_backward=Quartiles.of(rest),
        optimizer=Quartiles.of(optimizer),
        share=Quartiles.of(optimizer / (optimizer + rest)),
        relative=Quartiles.of(optimizer / reference),
        added=None if twin is None else Quartiles.of(optimizer - twin),
        bytes_per_parameter=cost.state_bytes / parameters,
    )
