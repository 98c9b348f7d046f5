"""The clippers that an arm can use, by their names in commands and study files. To add a clipper, add a row here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import steadystep


@dataclass(frozen=True)
class ClipKind:
    """A kind of clipper with one tuned parameter.

    Attributes:
        clipper: The constructor.
        threshold: The name of the constructor's argument that is tuned.
        from_norms: Whether the parameter is a gradient norm. If so, it is chosen from the norms that the unclipped twin
            of the arm recorded; otherwise the parameter is dimensionless.
        default: For a dimensionless parameter, the value that its authors recommend.
    """

    clipper: Callable[..., Any]
    threshold: str
    from_norms: bool = False
    default: float | None = None

    def make(self, threshold: float) -> Any:
        """Return a clipper with this value of the parameter."""
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
    """Return the name unchanged if it names a clipper.

    Raises:
        ValueError: If there is no such clipper; the message lists all names.

    >>> known_clip("agc")
    'agc'
    """
    if name not in CLIPS:
        raise ValueError(f"there is no clipper {name!r}: choose one of {', '.join(CLIPS)}")
    return name
