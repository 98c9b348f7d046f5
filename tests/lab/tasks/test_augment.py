"""Augmentation against what it is said to do, image by image."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from steadystep.lab.tasks.augment import alternating_flip, flips_and_shifts, shifted
from steadystep.lab.tasks.deform import BEND, KNOTS, ROTATION, SCALE, SHIFT, deformed


def images(count: int, height: int = 6, width: int = 6) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@given(order=st.permutations(range(32)), epoch=st.integers(0, 5))
def test_an_image_is_mirrored_in_every_second_epoch_wherever_it_stands(order: list[int], epoch: int) -> None:
    x, places = images(32), torch.tensor(order)
    once, next_time = (alternating_flip(x[places], places, number) for number in (epoch, epoch + 1))
    for place, one, other in zip(order, once, next_time, strict=True):
        assert torch.equal(one, x[place]) != torch.equal(other, x[place])
        assert torch.equal(one.flip(2), other)


def test_about_half_of_the_images_are_mirrored() -> None:
    places = torch.arange(10_000)
    x = torch.tensor([0.0, 1.0]).expand(10_000, 1, 1, 2)
    mirrored = (alternating_flip(x, places, 0)[:, 0, 0, 0] == 1).float().mean()
    assert abs(mirrored - 0.5) < 5 * 0.5 / math.sqrt(10_000)


def test_shifts_are_those_of_the_padded_image_each_as_likely() -> None:
    image, most = images(1), 2
    padded = functional.pad(image, (most,) * 4, mode="reflect")[0]
    windows = {(down, right): padded[:, down : down + 6, right : right + 6] for down in range(5) for right in range(5)}
    torch.manual_seed(0)
    moved = shifted(image.expand(5_000, -1, -1, -1), most)
    counts = {place: int((moved == window).flatten(1).all(1).sum()) for place, window in windows.items()}
    assert sum(counts.values()) == 5_000, "every image is one of the windows"
    assert all(abs(count - 200) < 5 * math.sqrt(200) for count in counts.values())


def test_views_are_averaged_with_their_weights() -> None:
    class FirstPixels(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 0, 0]

    x = images(2)
    padded = functional.pad(x, (1,) * 4, mode="reflect")
    expected = torch.zeros(2, 6)
    for view, weight in ((x, 0.5), (padded[:, :, :6, :6], 0.25), (padded[:, :, 2:, 2:], 0.25)):
        expected += weight * (view[:, 0, 0] + view.flip(3)[:, 0, 0]) / 2
    assert torch.allclose(flips_and_shifts(FirstPixels(), x), expected)


def test_a_deformation_moves_points_as_far_as_it_says_and_no_further() -> None:
    """An image of its own coordinates shows where every point came from."""
    axis = (2 * torch.arange(28) + 1) / 28 - 1
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    torch.manual_seed(0)
    found = torch.stack([deformed(torch.full((500, 1, 28, 28), 1.0) * plane, 0.5) for plane in (columns, rows)], 1)
    inside = deformed(torch.ones(500, 1, 28, 28), 0.5)
    centre = found[:, :, 0, 14, 14]
    # At the centre an affine map only shifts; beside it acts the displacement, whose deviation is known.
    spread = centre.std(0)
    most = math.hypot(0.5 * SHIFT / math.sqrt(3), 0.5 * BEND)
    assert ((spread > 0.5 * most) & (spread < 1.3 * most)).all()
    assert 0.5 < inside.mean() < 1, "what comes from outside the image is empty"
    assert KNOTS < 28 and math.pi / 4 > ROTATION and SCALE < 0.5


def test_without_strength_nothing_moves_and_with_it_every_image_moves_in_its_own_way() -> None:
    x = torch.rand(4, 1, 28, 28)
    assert torch.allclose(deformed(x, 0.0), x, atol=1e-5)
    torch.manual_seed(1)
    first, second, *_ = deformed(x[:1].expand(4, -1, -1, -1), 1.0)
    assert not torch.allclose(first, x[0], atol=0.1) and not torch.allclose(first, second, atol=0.1)
