"""Skip steps whose gradient norm is an outlier."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from steadystep.clipping.base import Choice, Clipper, Memory, check_count, check_positive
from steadystep.clipping.norms import GradNorms
from steadystep.tracing.ops import isfinite, isnan, maximum, put, quantile, where


class TooManyOutliersError(RuntimeError):
    """There were more outliers in a row than `max_refusals` of `SkipOutlier` allows."""


@dataclass(frozen=True)
class SkipOutlier(Clipper):
    r"""Skip a step whose global gradient norm is far above that of the preceding steps.

    .. math:: \lVert g \rVert > m + k \max(1.4826 \cdot \operatorname{MAD}, 10^{-3} m)

    m is the median and MAD the median absolute deviation of the norms of applied steps in a sliding window. A refused
    step leaves no trace but in the ledger and in the count of refusals.

    Args:
        k: how many robust standard deviations are too many; greater than 0. Default 6.
        window: how many norms are remembered. Default 128.
        active_after: norms that must have been seen before anything is refused. Default 64.
        max_refusals: refusals in a row; the next outlier is then treated as `then` says. Default 10.
        then: ``"accept"`` it, and its norm with it, so that a lasting change is followed; or ``"raise"``, which reads
            the verdict back in every step. Default ``"accept"``.

    Raises:
        ValueError: for a value outside its range.
        TooManyOutliersError: in a step, if `then` is ``"raise"``.

    Source: the median rule of robust statistics (Rousseeuw & Croux 1993), applied to gradient norms.

    >>> import steadystep
    >>> steadystep.SkipOutlier(k=5)
    SkipOutlier(k=5, window=128, active_after=64, max_refusals=10, then='accept')
    """

    k: float = 6.0
    window: int = 128
    active_after: int = 64
    max_refusals: int = 10
    then: Literal["accept", "raise"] = "accept"

    def __post_init__(self) -> None:
        check_positive("k", self.k)
        for name in ("window", "active_after", "max_refusals"):
            check_count(name, getattr(self, name))
        if self.active_after > self.window:
            raise ValueError(f"active_after is {self.active_after}: it must be at most the window, {self.window}")
        if self.then not in ("accept", "raise"):
            raise ValueError(f"then is {self.then!r}: it must be 'accept' or 'raise'")

    def start(self, tensors: int) -> dict[str, np.ndarray]:
        return {"norms": np.full(self.window, math.nan), "steps": np.array(0.0), "refusals": np.array(0.0)}

    def decide(self, measured: GradNorms, memory: Memory) -> Choice:
        norms, steps, refusals = memory["norms"], memory["steps"], memory["refusals"]
        norm = measured.global_norm
        seen = put(norms, steps % self.window, where(isfinite(norm), norm, 0.0))
        # Before the first norm there is no median: the present one stands in, and nothing is refused yet.
        known = where(isnan(norms).all(), seen, norms)
        median = quantile(known, 0.5)
        deviation = quantile(abs(known - median), 0.5)
        limit = median + self.k * maximum(1.4826 * deviation, 1e-3 * median)
        outlier = isfinite(norm) & (norm > limit) & (steps >= self.active_after)
        if self.then == "raise" and outlier and refusals >= self.max_refusals:
            raise TooManyOutliersError(
                f"{self.max_refusals} steps in a row were refused as outliers and the next is one too: norm "
                f"{float(norm):.4g}, limit {float(limit):.4g}"
            )
        return Choice(
            None,
            False,
            memory={"norms": seen, "steps": steps + 1, "refusals": refusals * 0.0},
            refuse=outlier & (refusals < self.max_refusals),
            memory_if_refused={"refusals": refusals + 1},
        )
