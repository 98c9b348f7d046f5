"""Clippers: measure -> decide -> apply. One clipper a file; each decides, none touches a gradient."""

from steadystep.clipping.clip_norm import ClipNorm
from steadystep.clipping.clip_value import ClipValue
from steadystep.clipping.clipper import Clipper

__all__ = ["ClipNorm", "ClipValue", "Clipper"]
