"""Networks compared with the definitions of their layers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from steadystep.lab.tasks.networks.deskew import Deskew
from steadystep.lab.tasks.networks.fast_cnn import FastCNN
from steadystep.lab.tasks.networks.mlp import make_mlp


@pytest.fixture
def pixels() -> torch.Tensor:
    """Return smooth coloured noise as bytes; neighbouring pixels are correlated, as in photographs."""
    noise = torch.randn(400, 3, 11, 11, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(noise, (32, 32), mode="bicubic")
    return (128 + 40 * smooth).clamp(0, 255).to(torch.uint8)


def test_the_first_layer_of_the_fast_cnn_whitens(pixels: torch.Tensor) -> None:
    model = FastCNN((8, 8, 8))
    model.fit_input(pixels, images=400, eps=0.0)
    standardised = model.pixels(pixels)
    assert standardised.mean((0, 2, 3)).abs().max() < 1e-3
    assert (standardised.std((0, 2, 3)) - 1).abs().max() < 1e-3
    outputs = model.whiten(standardised).movedim(1, 0).flatten(1).double()
    half = outputs[:12]
    assert torch.allclose(half @ half.T / half.shape[1], torch.eye(12, dtype=torch.float64), atol=2e-2)
    assert torch.allclose(outputs[12:], -half)
    assert not any(parameter.requires_grad for parameter in model.whiten.parameters())


def test_the_first_filters_of_every_block_start_as_the_identity() -> None:
    model = FastCNN((32, 32, 32))
    x = torch.randn(2, 24, 9, 9)
    convolution = next(m for m in model.layers.modules() if isinstance(m, torch.nn.Conv2d))
    assert torch.allclose(convolution(x)[:, :24], x)
    assert not torch.allclose(convolution(x)[:, 24:], torch.zeros(1))


@pytest.mark.parametrize("batches", [1, 2, 5])
def test_running_statistics_do_not_depend_on_the_batch_size(pixels: torch.Tensor, batches: int) -> None:
    model = FastCNN((8, 8, 8)).double()
    norm = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean((0, 2, 3))))
    for batch in pixels[:1].expand(250, -1, -1, -1).chunk(batches):
        model(batch.double())
    assert norm.running_mean is not None
    assert torch.allclose(norm.running_mean, 0.12 * seen[0], rtol=1e-12)


def test_the_flops_of_the_wide_network_are_the_sum_over_its_layers() -> None:
    """Compare with the 0.36 PFLOP of Jordan (2024) for 9.9 epochs of 50,000 images, with gradients and evaluation."""
    model = FastCNN((64, 256, 256))
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 32, 32)).sum().backward()
    whiten, first = 3 * 24 * 4 * 31**2, 24 * 64 * 9 * 31**2
    rest = 64 * 64 * 9 * 15**2 + 64 * 256 * 9 * 15**2 + 256 * 256 * 9 * (7**2 + 7**2 + 3**2) + 256 * 10
    # No layer before the first convolution is trained, so its input needs no gradient.
    assert counter.get_total_flops() == 2 * (whiten + 2 * first + 3 * rest)
    assert 0.9 < counter.get_total_flops() * 50_000 * 9.9 / 0.36e15 < 1


def test_the_order_of_the_mlp_layers() -> None:
    kinds = [type(layer).__name__ for layer in make_mlp((4, 5, 6, 2), dropout=0.1, batch_norm=True)]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Dropout"] * 2 + ["Linear"]
    assert math.prod(make_mlp((4, 5, 2), batch_norm=True)(torch.randn(3, 4)).shape) == 6


@given(slant=st.floats(-0.5, 0.5), right=st.floats(-0.2, 0.2), down=st.floats(-0.2, 0.2))
def test_a_skewed_image_is_deskewed_and_centred(slant: float, right: float, down: float) -> None:
    """Recover an ellipse that was sheared and moved, up to the interpolation error."""
    axis = torch.linspace(-1, 1, 112)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    upright = torch.exp(-((x / 0.15) ** 2) - (y / 0.3) ** 2)
    skewed = torch.exp(-(((x - right - slant * (y - down)) / 0.15) ** 2) - ((y - down) / 0.3) ** 2)
    other = torch.rand(112, 112)
    deskewed = Deskew()(torch.stack([other, skewed]).unsqueeze(1))
    assert torch.allclose(deskewed[1, 0], upright, atol=0.01)


def test_an_empty_image_stays_empty() -> None:
    assert not Deskew()(torch.zeros(1, 1, 28, 28, dtype=torch.uint8)).any()
