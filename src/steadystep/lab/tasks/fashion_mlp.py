"""fashion-mlp: the MLP of mnist-mlp on Fashion-MNIST, which is harder."""

from dataclasses import replace
from functools import partial

from steadystep.lab.tasks import mnist_mlp

HUB_NAME = "zalando-datasets/fashion_mnist"

TASK = replace(
    mnist_mlp.TASK,
    name="fashion-mlp",
    title="Fashion-MNIST, MLP 784-512-512-10 with dropout 0.2",
    dataset=HUB_NAME,
    load=partial(mnist_mlp.load, hub_name=HUB_NAME),
    margin=0.002,
    target_accuracy=0.88,
    target_loss=0.25,
    claims={},
)
