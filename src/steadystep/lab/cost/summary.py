"""Statistics of the measured turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from steadystep.lab.cost.arms import REFERENCE, CostArm
from steadystep.lab.cost.measure import Cost, CostResults


@dataclass(frozen=True)
class Quartiles:
    """Median over rounds, and the interquartile range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> "Quartiles":
        """
        >>> Quartiles.of([1.0, 2.0, 3.0, 4.0, 5.0])
        Quartiles(median=3.0, low=2.0, high=4.0)
        """
        low, middle, high = np.quantile(np.asarray(values, float), (0.25, 0.5, 0.75)).tolist()
        return cls(middle, low, high)


@dataclass(frozen=True)
class CostSummary:
    """One arm."""

    arm: CostArm
    threshold: float | None
    forward_backward: Quartiles  # ms, the batch included
    optimizer: Quartiles  # ms, clipping included
    share: Quartiles  # the optimizer's of the whole step, as a fraction of 1
    relative: Quartiles  # the optimizer's time over that of SGD in the same round
    added: Quartiles | None  # ms that the clipper adds to the same optimizer without it in the same round
    bytes_per_parameter: float


def summarise_costs(results: CostResults) -> tuple[CostSummary, ...]:
    """Every arm, in the order measured. What is set in relation is so round by round: drifts of the machine cancel."""
    own = {cost.arm: np.asarray(cost.times.optimizer) for cost in results.costs}
    reference = own[CostArm(REFERENCE)]
    return tuple(_summary(cost, own, reference, results.parameters) for cost in results.costs)


def _summary(cost: Cost, times: Mapping[CostArm, np.ndarray], reference: np.ndarray, parameters: int) -> CostSummary:
    rest, own = np.asarray(cost.times.forward_backward), times[cost.arm]
    twin = times.get(CostArm(cost.arm.optimizer)) if cost.arm.clip else None
    return CostSummary(
        arm=cost.arm,
        threshold=cost.threshold,
        forward_backward=Quartiles.of(rest),
        optimizer=Quartiles.of(own),
        share=Quartiles.of(own / (own + rest)),
        relative=Quartiles.of(own / reference),
        added=None if twin is None else Quartiles.of(own - twin),
        bytes_per_parameter=cost.state_bytes / parameters,
    )
