"""The distribution of random crops, and the agreement of Pillow and tensor code."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from steadystep.lab.tasks.cropped_arrays import CroppedArrays
from steadystep.lab.tasks.crops import Crop, random_crop
from steadystep.lab.tasks.image_decode import centre_view, random_view, to_tensor


def crops(width: int, height: int, count: int = 4000) -> Iterator[Crop]:
    return (random_crop(width, height, index, epoch=3) for index in range(count))


def test_crops_have_8_to_100_percent_of_the_area_and_shapes_from_3_4_to_4_3() -> None:
    found = list(crops(500, 375))
    area = np.array([crop.width * crop.height / (500 * 375) for crop in found])
    ratio = np.array([crop.width / crop.height for crop in found])
    rounding = 0.01
    assert area.min() > 0.08 - rounding and area.max() <= 1
    assert area.min() < 0.1 and area.max() > 0.95
    assert ratio.min() > 0.75 * (1 - rounding) and ratio.max() < 4 / 3 * (1 + rounding)
    # Large crops fit less often, so the mean is below the middle of 8 and 100%: torchvision's rule gives 0.433 here.
    assert abs(area.mean() - 0.433) < 0.015
    square = [crop.width / crop.height for crop in crops(500, 500)]
    assert abs(np.log(square).mean()) < 0.015, "portrait as often as landscape"
    assert abs(np.mean([crop.mirrored for crop in found]) - 0.5) < 0.03
    assert all(0 <= c.left <= 500 - c.width and 0 <= c.top <= 375 - c.height for c in found)
    assert abs(np.mean([crop.left / (500 - crop.width) for crop in found if crop.width < 400]) - 0.5) < 0.02


@pytest.mark.parametrize(("width", "height"), [(2000, 10), (10, 2000), (1, 1)])
def test_the_centre_is_taken_if_no_crop_fits(width: int, height: int) -> None:
    for crop in crops(width, height, count=20):
        assert crop.width >= 1 and crop.height >= 1
        assert crop.left + crop.width <= width and crop.top + crop.height <= height
        if max(width, height) > 1:
            assert crop.left == (width - crop.width) // 2 and crop.top == (height - crop.height) // 2


def test_a_crop_depends_on_index_and_epoch() -> None:
    drawn = {random_crop(500, 375, index, epoch) for index in range(20) for epoch in range(20)}
    assert len(drawn) == 400
    # Crops must not change between versions; otherwise old records would be invalid.
    assert random_crop(500, 375, index=7, epoch=2) == Crop(117, 76, 272, 288, mirrored=False)


@pytest.mark.parametrize("size", [32, 64, 96])
@pytest.mark.parametrize("random", [True, False])
def test_tensor_code_gives_the_same_pixels_as_pillow(size: int, random: bool) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (40, 48, 64, 3), np.uint8)
    arrays = CroppedArrays(torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.arange(40), size, random)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    batches = list(arrays.stream(order, 16, epoch=5))
    assert [len(batch.y) for batch in batches] == [16, 16, 8]
    assert torch.equal(torch.cat([batch.y for batch in batches]), order)
    images = [Image.fromarray(pixels[index]) for index in order.tolist()]
    views = [
        random_view(image, size, index, 5) if random else centre_view(image, size)
        for index, image in zip(order.tolist(), images, strict=True)
    ]
    difference = torch.cat([b.x for b in batches]).int() - torch.stack([to_tensor(view) for view in views]).int()
    assert difference.abs().max() <= 1, "Pillow's fixed-point arithmetic rounds a few values the other way"
    assert (difference != 0).float().mean() < 0.03
