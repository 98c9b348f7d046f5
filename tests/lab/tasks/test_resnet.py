"""Residual networks: the published sizes, and shapes from stem to head."""

import pytest
import torch
from torch import nn

from steadystep.lab.tasks import cifar10_resnet
from steadystep.lab.tasks.networks.resnet import Depth, ResNet, resnet, resnet_cifar


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("depth", "expected"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)])
def test_the_published_numbers_of_parameters(depth: Depth, expected: int) -> None:
    assert parameters(resnet(depth)) == expected


def test_the_cifar_network_has_20_layers_and_027_million_parameters() -> None:
    model = resnet_cifar()
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 20
    assert round(parameters(model) / 1e6, 2) == 0.27


@pytest.mark.parametrize(
    ("model", "size", "positions"),
    [(resnet(18), 64, 2), (resnet(50, stem="small"), 32, 4), (resnet_cifar(classes=1000), 32, 8)],
    ids=["imagenet stem", "small stem", "cifar"],
)
def test_shapes(model: ResNet, size: int, positions: int) -> None:
    x = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    assert model.blocks(model.stem(model.pixels(x))).shape[2:] == (positions, positions)
    assert model(x).shape == (2, 1000)


def test_the_stride_of_a_bottleneck_is_in_its_3x3_convolution() -> None:
    halving = [
        module.kernel_size for module in resnet(50).blocks.modules()
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2)
    ]  # fmt: skip
    assert halving == [(3, 3), (1, 1)] * 3, "the layers' 3x3, and the shortcut's 1x1"


def test_padded_shortcuts_take_every_second_position() -> None:
    first_of_second_stage = resnet_cifar().blocks[3]
    x = torch.randn(2, 16, 8, 8)
    passed = first_of_second_stage.shortcut(x)  # pyright: ignore[reportCallIssue]
    assert torch.equal(passed[:, :16], x[:, :, ::2, ::2])
    assert passed.shape == (2, 32, 4, 4) and not passed[:, 16:].any()


def test_the_cifar_task_with_resnet_18() -> None:
    task = cifar10_resnet.make_task("cifar10-resnet18", depth=18)
    model = task.model()
    assert 11e6 < parameters(model) < 11.3e6
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
