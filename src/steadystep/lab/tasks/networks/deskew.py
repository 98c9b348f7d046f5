"""Deskewing and centring of handwriting, as the first layer of a network."""

import torch
from torch import nn
from torch.nn import functional

MIN_INK = 1e-6
"""Lower bound of the denominators: of the total ink and of its vertical variance. They keep empty images finite."""


class Deskew(nn.Module):
    """Shear every image so that its ink is upright, and move its centre of mass to the middle.

    With ink w at rows y and columns x, both from -1 to 1 over the image, the slant is cov(x, y) / var(y) under w. The
    output at (x, y) is the input at (x + slant y + mean x, y + mean y). (batch, 1, height, width) of any dtype, 0 where
    there is no ink -> the same shape in float32. The layer has no parameters. Source: the deslanting of LeCun, Bottou,
    Bengio & Haffner, Gradient-based learning applied to document recognition, Proc. IEEE 86 (1998), section III.

    >>> stroke = torch.zeros(1, 1, 28, 28)
    >>> for row in range(6, 22):
    ...     stroke[0, 0, row, 4 + row // 2] = 1.0
    >>> upright = Deskew()(stroke)[0, 0, 8:20]
    >>> upright.sum(0).topk(2).indices.sort().values.tolist()
    [13, 14]
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the deskewed images."""
        x = x.float()
        ink = x[:, 0]
        height, width = ink.shape[1:]
        rows, columns = (torch.linspace(-1, 1, size, device=x.device) for size in (height, width))
        total = ink.sum((1, 2)).clamp(min=MIN_INK)
        mean_y = (ink.sum(2) @ rows) / total
        mean_x = (ink.sum(1) @ columns) / total
        down, right = rows - mean_y.unsqueeze(1), columns - mean_x.unsqueeze(1)
        covariance = torch.einsum("nij,ni,nj->n", ink, down, right) / total
        variance = torch.einsum("nij,ni->n", ink, down * down) / total
        slant = covariance / variance.clamp(min=MIN_INK)
        one, zero = torch.ones_like(slant), torch.zeros_like(slant)
        maps = torch.stack([one, slant, mean_x, zero, one, mean_y], 1).view(-1, 2, 3)
        grid = functional.affine_grid(maps, list(x.shape), align_corners=True)
        return functional.grid_sample(x, grid, align_corners=True)
