"""Clippers: measure -> decide -> apply. One clipper a file; each decides, none touches a gradient."""

from steadystep.clipping.ada_gc import AdaGC
from steadystep.clipping.agc import AGC
from steadystep.clipping.auto_clip import AutoClip
from steadystep.clipping.clip_norm import ClipNorm
from steadystep.clipping.clip_update import ClipUpdate
from steadystep.clipping.clip_value import ClipValue
from steadystep.clipping.clipper import Clipper
from steadystep.clipping.skip_outlier import SkipOutlier
from steadystep.clipping.smooth_clip import SmoothClip
from steadystep.clipping.z_clip import ZClip

__all__ = [
    "AGC",
    "AdaGC",
    "AutoClip",
    "ClipNorm",
    "ClipUpdate",
    "ClipValue",
    "Clipper",
    "SkipOutlier",
    "SmoothClip",
    "ZClip",
]
