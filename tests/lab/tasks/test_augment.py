"""Augmentation compared with its definition, image by image."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from steadystep.lab.tasks.augment import alternating_flip, flips_and_shifts, random_shift
from steadystep.lab.tasks.deform import BEND, KNOTS, ROTATION, SCALE, SHIFT, random_deformation


def images(count: int, height: int = 6, width: int = 6) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@given(order=st.permutations(range(32)), epoch=st.integers(0, 5))
def test_every_image_is_flipped_in_every_second_epoch_in_any_order(order: list[int], epoch: int) -> None:
    x, indices = images(32), torch.tensor(order)
    first, second = (alternating_flip(x[indices], indices, number) for number in (epoch, epoch + 1))
    for index, one, other in zip(order, first, second, strict=True):
        assert torch.equal(one, x[index]) != torch.equal(other, x[index])
        assert torch.equal(one.flip(2), other)


def test_about_half_of_the_images_are_flipped() -> None:
    x = torch.tensor([0.0, 1.0]).expand(10_000, 1, 1, 2)
    flipped = (alternating_flip(x, torch.arange(10_000), 0)[:, 0, 0, 0] == 1).float().mean()
    assert abs(flipped - 0.5) < 5 * 0.5 / math.sqrt(10_000)


def test_shifts_are_windows_of_the_padded_image_and_equally_likely() -> None:
    image, max_shift = images(1), 2
    padded = functional.pad(image, (max_shift,) * 4, mode="reflect")[0]
    windows = {(down, right): padded[:, down : down + 6, right : right + 6] for down in range(5) for right in range(5)}
    torch.manual_seed(0)
    shifted = random_shift(image.expand(5_000, -1, -1, -1), max_shift)
    counts = {shift: int((shifted == window).flatten(1).all(1).sum()) for shift, window in windows.items()}
    assert sum(counts.values()) == 5_000, "every image is one of the windows"
    assert all(abs(count - 200) < 5 * math.sqrt(200) for count in counts.values())


def test_flips_and_shifts_averages_the_views_with_their_weights() -> None:
    class FirstPixels(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 0, 0]

    x = images(2)
    padded = functional.pad(x, (1,) * 4, mode="reflect")
    expected = torch.zeros(2, 6)
    for view, weight in ((x, 0.5), (padded[:, :, :6, :6], 0.25), (padded[:, :, 2:, 2:], 0.25)):
        expected += weight * (view[:, 0, 0] + view.flip(3)[:, 0, 0]) / 2
    assert torch.allclose(flips_and_shifts(FirstPixels(), x), expected)


def test_a_deformation_moves_points_by_the_declared_amount() -> None:
    """Deform images whose pixels are their own coordinates, which shows where every point came from."""
    axis = (2 * torch.arange(28) + 1) / 28 - 1
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    torch.manual_seed(0)
    planes = (torch.full((500, 1, 28, 28), 1.0) * plane for plane in (columns, rows))
    sources = torch.stack([random_deformation(plane, 0.5) for plane in planes], 1)
    inside = random_deformation(torch.ones(500, 1, 28, 28), 0.5)
    centre = sources[:, :, 0, 14, 14]
    # At the centre an affine map is only a shift; the displacement, whose standard deviation is known, is added to it.
    spread = centre.std(0)
    expected = math.hypot(0.5 * SHIFT / math.sqrt(3), 0.5 * BEND)
    assert ((spread > 0.5 * expected) & (spread < 1.3 * expected)).all()
    assert 0.5 < inside.mean() < 1, "points from outside the image are empty"
    assert KNOTS < 28 and math.pi / 4 > ROTATION and SCALE < 0.5


def test_strength_zero_changes_nothing_and_otherwise_every_image_is_deformed_differently() -> None:
    x = torch.rand(4, 1, 28, 28)
    assert torch.allclose(random_deformation(x, 0.0), x, atol=1e-5)
    torch.manual_seed(1)
    first, second, *_ = random_deformation(x[:1].expand(4, -1, -1, -1), 1.0)
    assert not torch.allclose(first, x[0], atol=0.1) and not torch.allclose(first, second, atol=0.1)
