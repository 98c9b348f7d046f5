"""Random deformation of handwriting: affine maps and smooth displacements of whole batches."""

import math

import torch
from torch.nn import functional

ROTATION = math.radians(6)
SCALE = 0.06
SHEAR = 0.075
SHIFT = 0.04  # as a fraction of half the image's side
BEND = 0.09  # standard deviation of the displacement, as a fraction of half the image's side
KNOTS = 5
"""Points per side of the grid on which the displacement is drawn; between them it is interpolated smoothly."""


def random_deformation(x: torch.Tensor, strength: float) -> torch.Tensor:
    """Deform every image by a random affine map and a random smooth displacement.

    (batch, 1, height, width) floats in and out; pixels from outside the image are 0. Rotation, scale, shear and shift
    are uniform within plus or minus `strength` times the constants above, and the displacement of each knot is normal.
    At strength 0 the images stay unchanged. Source: Simard, Steinkraus & Platt, Best practices for convolutional neural
    networks applied to visual document analysis, ICDAR 2003, for the elastic part.

    >>> x = torch.rand(2, 1, 28, 28)
    >>> torch.allclose(random_deformation(x, strength=0.0), x, atol=1e-5)
    True
    """
    batch, _, height, width = x.shape
    # Drawn on the CPU, so that the numbers are the same for every device.
    turn, shear, *rest = (strength * (2 * torch.rand(6, batch) - 1)).to(x.device)
    grow_x, grow_y, right, down = rest
    turn, shear = ROTATION * turn, SHEAR * shear
    grow_x, grow_y = 1 + SCALE * grow_x, 1 + SCALE * grow_y
    cos, sin = turn.cos(), turn.sin()
    rows = [
        torch.stack([cos * grow_x, (shear * cos - sin) * grow_y, SHIFT * right], 1),
        torch.stack([sin * grow_x, (shear * sin + cos) * grow_y, SHIFT * down], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), [batch, 1, height, width], align_corners=False)
    knots = (strength * BEND * torch.randn(batch, 2, KNOTS, KNOTS)).to(x.device)
    bend = functional.interpolate(knots, (height, width), mode="bicubic", align_corners=True)
    return functional.grid_sample(x, grid + bend.permute(0, 2, 3, 1), align_corners=False)
