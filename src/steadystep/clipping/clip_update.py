"""Update clipping (Shazeer & Stern 2018; Wortsman et al. 2023)."""

from dataclasses import dataclass

from steadystep.clipping.base import Choice, Clipper, Memory, check_positive
from steadystep.clipping.norms import GradNorms


@dataclass(frozen=True)
class ClipUpdate(Clipper):
    r"""Limit the root mean square of each tensor's proposed update, in any optimizer.

    .. math:: u \leftarrow u \cdot \min(1, c / \operatorname{RMS}(u)), \qquad \theta \leftarrow \theta - \alpha u

    u is the update before the learning rate, without decoupled weight decay. It is known only to the rule: `guard` and
    `clip_gradients`, which see gradients alone, refuse this clipper.

    Args:
        max_rms: c, greater than 0. Default 1.0.

    Raises:
        ValueError: if max_rms is not greater than 0.

    Source: Shazeer & Stern (2018), "Adafactor: adaptive learning rates with sublinear memory cost", section 6;
    Wortsman et al. (2023), "Stable and low-precision training for large-scale vision-language models", section 3.3.

    >>> import torch, steadystep
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> optimizer = steadystep.SGD([weight], lr=1.0, clip=steadystep.ClipUpdate(1.0))
    >>> (weight * 10).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    tensor([-1., -1.])
    """

    max_rms: float = 1.0

    def __post_init__(self) -> None:
        check_positive("max_rms", self.max_rms)

    def decide(self, measured: GradNorms, memory: Memory) -> Choice:
        return Choice(None, False, update_bound=self.max_rms)
