"""Clippers, one per file. A clipper only decides what to do with the gradients; it neither measures nor changes them.

Each import is a row of the table of clippers, which drives the generic tests.
"""

from steadystep.clipping.ada_gc import AdaGC as AdaGC
from steadystep.clipping.agc import AGC as AGC
from steadystep.clipping.auto_clip import AutoClip as AutoClip
from steadystep.clipping.base import Clipper as Clipper
from steadystep.clipping.clip_norm import ClipNorm as ClipNorm
from steadystep.clipping.clip_update import ClipUpdate as ClipUpdate
from steadystep.clipping.clip_value import ClipValue as ClipValue
from steadystep.clipping.skip_outlier import SkipOutlier as SkipOutlier
from steadystep.clipping.smooth_clip import SmoothClip as SmoothClip
from steadystep.clipping.z_clip import ZClip as ZClip
