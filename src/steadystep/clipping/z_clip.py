"""ZClip (Kumar et al. 2025)."""

import math
from dataclasses import dataclass

import numpy as np

from steadystep.clipping.base import Choice, Clipper, Memory, check_between, check_count, check_positive, to_limit
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Scale
from steadystep.tracing.ops import isfinite, minimum, sqrt, where


@dataclass(frozen=True)
class ZClip(Clipper):
    r"""Clip by global norm when the norm is an outlier in its own running distribution.

    .. math::
        z = \frac{\lVert g \rVert - \mu}{\sigma + 10^{-6}}, \qquad
        c = \mu + \frac{z_0 \sigma}{z / z_0} \quad\text{if}\quad z > z_0

    \mu and \sigma^2 are the mean and the population variance of the first norms, then exponential averages, \mu first,
    then \sigma^2 about the new \mu, of the norms after this clipping. Nothing is clipped adaptively in the warm-up.

    Args:
        threshold: z_0, greater than 0. Default 2.5.
        decay: of the averages, in [0, 1]. Default 0.97.
        warmup: how many applied steps the first statistics are taken from. Default 25.
        max_norm: a cap on the norm besides, in the warm-up too. Default None, no cap; the authors' code has 1.0.

    Raises:
        ValueError: for a value outside its range.

    Source: Kumar, Owen, Chowdhury & Güra (2025), "ZClip: adaptive spike mitigation for LLM pre-training", Algorithm 1.

    >>> import steadystep
    >>> steadystep.ZClip()
    ZClip(threshold=2.5, decay=0.97, warmup=25, max_norm=None)
    """

    threshold: float = 2.5
    decay: float = 0.97
    warmup: int = 25
    max_norm: float | None = None

    def __post_init__(self) -> None:
        check_positive("threshold", self.threshold)
        check_between("decay", self.decay, 0, 1)
        check_count("warmup", self.warmup)
        if self.max_norm is not None:
            check_positive("max_norm", self.max_norm)

    def start(self, tensors: int) -> dict[str, np.ndarray]:
        return {"steps": np.array(0.0), "mean": np.array(0.0), "variance": np.array(0.0)}

    def decide(self, measured: GradNorms, memory: Memory) -> Choice:
        usable = isfinite(measured.global_norm)
        norm = where(usable, measured.global_norm, 0.0)
        steps, mean, variance = memory["steps"], memory["mean"], memory["variance"]
        warming = steps < self.warmup

        # Welford's update of mean and population variance, exact whatever the scale of the norms.
        first_mean = mean + (norm - mean) / (steps + 1)
        first_variance = (steps * variance + (norm - mean) * (norm - first_mean)) / (steps + 1)

        deviation = sqrt(variance)
        z = (norm - mean) / (deviation + 1e-6)
        outlier = (z > self.threshold) & (steps >= self.warmup)
        limit = mean + self.threshold * deviation / (where(outlier, z, 1.0) / self.threshold)
        kept = where(outlier, limit, norm)
        later_mean = self.decay * mean + (1 - self.decay) * kept
        later_variance = self.decay * variance + (1 - self.decay) * (kept - later_mean) * (kept - later_mean)

        cap = math.inf if self.max_norm is None else self.max_norm
        factor, exceeds = to_limit(measured.global_norm, minimum(kept, cap))
        after = {
            "steps": steps + 1,
            "mean": where(warming, first_mean, later_mean),
            "variance": where(warming, first_variance, later_variance),
        }
        return Choice(Scale(factor), exceeds, after)
