"""Parameter shapes of three models: a large one with many tensors, a transformer, and one that fits in the cache."""

Shapes = list[tuple[int, ...]]


def resnet50() -> Shapes:
    """Return the shapes of ResNet-50: 161 tensors, 25.6 million parameters.

    >>> import math
    >>> len(resnet50()), sum(map(math.prod, resnet50()))
    (161, 25557032)
    """
    shapes: Shapes = [(64, 3, 7, 7), (64,), (64,)]
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            outputs = 4 * width
            for shape in ((width, inputs, 1, 1), (width, width, 3, 3), (outputs, width, 1, 1)):
                shapes += [shape, shape[:1], shape[:1]]
            if block == 0:
                shapes += [(outputs, inputs, 1, 1), (outputs,), (outputs,)]
            inputs = outputs
    return [*shapes, (1000, 2048), (1000,)]


def small_gpt() -> Shapes:
    """Return the shapes of a GPT: 76 tensors, 14.2 million parameters.

    It has 6 layers, width 384, 1,024 positions and 8,192 tokens.

    >>> import math
    >>> len(small_gpt()), sum(map(math.prod, small_gpt()))
    (76, 14186496)
    """
    width = 384
    block: Shapes = [(width,), (width,), (3 * width, width), (3 * width,), (width, width), (width,)]
    block += [(width,), (width,), (4 * width, width), (4 * width,), (width, 4 * width), (width,)]
    return [(8192, width), (1024, width), *(block * 6), (width,), (width,)]


def small_mlp() -> Shapes:
    """Return the shapes of the digits network 64-256-128-10: 6 tensors, 50,826 parameters.

    >>> import math
    >>> len(small_mlp()), sum(map(math.prod, small_mlp()))
    (6, 50826)
    """
    return [(256, 64), (256,), (128, 256), (128,), (10, 128), (10,)]


MODELS = {"ResNet-50": resnet50, "small GPT": small_gpt, "MLP of 6 tensors": small_mlp}
