"""What `clip=` may be."""

from collections.abc import Sequence
from numbers import Real

from steadystep.clipping.clip_norm import ClipNorm
from steadystep.clipping.clipper import Clipper

Clip = float | Clipper | Sequence[float | Clipper] | None
"""What `clip=` accepts: nothing, a global norm, a clipper, or a chain of them."""


def as_clippers(clip: Clip) -> tuple[Clipper, ...]:
    """The chain that `clip=` means. A bare number c means ``ClipNorm(c)``.

    Raises:
        TypeError: for anything else, with what was given and what is accepted.

    >>> as_clippers(1.0)
    (ClipNorm(max_norm=1.0, scope='global'),)
    """
    if clip is None:
        return ()
    if isinstance(clip, Clipper):
        return (clip,)
    if isinstance(clip, Real) and not isinstance(clip, bool):
        return (ClipNorm(float(clip)),)
    if isinstance(clip, Sequence) and not isinstance(clip, str):
        return tuple(clipper for one in clip for clipper in as_clippers(one))
    raise TypeError(
        f"clip is {clip!r}: give None, a maximal global norm such as 1.0, a clipper such as "
        "steadystep.ClipValue(0.5), or a list of these, applied in order"
    )
