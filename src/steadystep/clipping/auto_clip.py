"""AutoClip (Seetharaman et al. 2020)."""

import math
from dataclasses import dataclass

import numpy as np

from steadystep.clipping.base import Choice, Clipper, Memory, check_between, check_count, to_limit
from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Scale
from steadystep.tracing.ops import isfinite, put, quantile, where


@dataclass(frozen=True)
class AutoClip(Clipper):
    r"""Clip by global norm, with a percentile of the recent norms as the threshold.

    .. math:: c_t = \text{percentile}_p(\lVert g_1 \rVert, \dots, \lVert g_t \rVert)

    The norms are those of applied steps as measured, the present one included, over a sliding window; between two
    of them the percentile is interpolated linearly.

    Args:
        percentile: p in [0, 100]. Default 10.
        window: how many norms are remembered. Default 1000.

    Raises:
        ValueError: for a value outside its range.

    Source: Seetharaman, Wichern, Pardo & Le Roux (2020), "AutoClip: adaptive gradient clipping for source separation
    networks", Algorithm 1.

    >>> import torch, steadystep
    >>> weight = torch.zeros(1, requires_grad=True)
    >>> optimizer = steadystep.SGD([weight], lr=1.0, clip=steadystep.AutoClip(50))
    >>> for gradient in (1.0, 3.0):
    ...     weight.grad = torch.tensor([gradient])
    ...     optimizer.step()
    >>> weight.data  # the second step was clipped at 2, the median of 1 and 3
    tensor([-3.])
    """

    percentile: float = 10.0
    window: int = 1000

    def __post_init__(self) -> None:
        check_between("percentile", self.percentile, 0, 100)
        check_count("window", self.window)

    def start(self, tensors: int) -> dict[str, np.ndarray]:
        return {"norms": np.full(self.window, math.nan), "steps": np.array(0.0)}

    def decide(self, measured: GradNorms, memory: Memory) -> Choice:
        norm = measured.global_norm
        norms = put(memory["norms"], memory["steps"] % self.window, where(isfinite(norm), norm, 0.0))
        factor, exceeds = to_limit(norm, quantile(norms, self.percentile / 100))
        return Choice(Scale(factor), exceeds, {"norms": norms, "steps": memory["steps"] + 1})
