"""The clippers that an arm can have, by the names that commands and study files use. A clipper is a row here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import steadystep


@dataclass(frozen=True)
class ClipKind:
    """How a clipper is made from its one number, and where that number comes from.

    `threshold` names the constructor's argument. `from_norms`: it is a size of gradients, so it is taken from the
    norms that the unclipped twin met; otherwise it has no unit, and `default` is what its authors recommend.
    """

    clipper: Callable[..., Any]
    threshold: str
    from_norms: bool = False
    default: float | None = None

    def make(self, threshold: float) -> Any:
        return self.clipper(**{self.threshold: threshold})


CLIPS = {
    "norm": ClipKind(steadystep.ClipNorm, "max_norm", from_norms=True),
    "value": ClipKind(steadystep.ClipValue, "max_value", from_norms=True),
    "smooth": ClipKind(steadystep.SmoothClip, "max_norm", from_norms=True),
    "agc": ClipKind(steadystep.AGC, "ratio", default=0.01),
    "adagc": ClipKind(steadystep.AdaGC, "ratio", default=1.05),
    "autoclip": ClipKind(steadystep.AutoClip, "percentile", default=10.0),
    "zclip": ClipKind(steadystep.ZClip, "threshold", default=2.5),
    "update": ClipKind(steadystep.ClipUpdate, "max_rms", default=1.0),
    "skip": ClipKind(steadystep.SkipOutlier, "k", default=6.0),
}


def known_clip(name: str) -> str:
    """The name, if there is a clipper of it. Raises ValueError, which lists the names there are.

    >>> known_clip("agc")
    'agc'
    """
    if name not in CLIPS:
        raise ValueError(f"there is no clipper {name!r}: choose one of {', '.join(CLIPS)}")
    return name
