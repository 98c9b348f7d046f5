"""AdaGC (Wang et al. 2025)."""

import math
from dataclasses import dataclass

import numpy as np

from steadystep.clipping.base import Choice, Clipper, Memory, check_between, check_count, check_positive, to_limit
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Scale
from steadystep.tracing.ops import gather, isnan, maximum, minimum, scatter, where

FLOOR = 1e-8


@dataclass(frozen=True)
class AdaGC(Clipper):
    r"""Clip the gradient of each tensor at a multiple of the running average of its own clipped norm.

    .. math::
        h_t = \min\left(1, \lambda \frac{\gamma_{t-1}}{\lVert g_t \rVert}\right), \qquad
        \gamma_t = \max(\beta \gamma_{t-1} + (1-\beta) h_t \lVert g_t \rVert, 10^{-8})

    for each tensor, after a warm-up with clipping by global norm, in which \gamma is the smallest clipped norm that is
    not 0. A tensor that has had none so far is not clipped.

    Args:
        ratio: \lambda, greater than 0. Default 1.05.
        decay: \beta in [0, 1]. Default 0.98.
        warmup: applied steps of the warm-up. Default 100.
        max_norm: the global norm in the warm-up, greater than 0. Default 1.0.

    Raises:
        ValueError: for a value outside its range.

    Source: Wang et al. (2025), "AdaGC: improving training stability for large language model pretraining", Algorithm 1.

    >>> import steadystep
    >>> steadystep.AdaGC()
    AdaGC(ratio=1.05, decay=0.98, warmup=100, max_norm=1.0)
    """

    per_tensor = ("gammas",)

    ratio: float = 1.05
    decay: float = 0.98
    warmup: int = 100
    max_norm: float = 1.0

    def __post_init__(self) -> None:
        check_positive("ratio", self.ratio)
        check_between("decay", self.decay, 0, 1)
        check_count("warmup", self.warmup)
        check_positive("max_norm", self.max_norm)

    def start(self, tensors: int) -> dict[str, np.ndarray]:
        return {"steps": np.array(0.0), "gammas": np.full(tensors, math.nan)}

    def decide(self, measured: GradNorms, memory: Memory) -> Choice:
        norms, steps = measured.norms, memory["steps"]
        gammas = gather(memory["gammas"], measured.gradients.positions)
        known = ~isnan(gammas)
        warming = steps < self.warmup

        all_alike, _ = to_limit(measured.global_norm, self.max_norm)
        first = norms * all_alike
        first_gammas = where(first > 0, where(known, minimum(gammas, first), first), gammas)

        own, _ = to_limit(norms, where(known, self.ratio * gammas, math.inf))
        later = maximum(where(known, self.decay * gammas + (1 - self.decay) * own * norms, norms), FLOOR)
        later_gammas = where(known | (norms > 0), later, gammas)

        factors = where(warming, all_alike + 0.0 * own, own)
        after = scatter(memory["gammas"], measured.gradients.positions, where(warming, first_gammas, later_gammas))
        return Choice(Scale(factors), (factors < 1.0).any(), {"steps": steps + 1, "gammas": after})
