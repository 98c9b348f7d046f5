"""The tasks, one a file. Adding one is a file that defines TASK and a row here."""

from steadystep.lab.errors import UserError
from steadystep.lab.tasks import (
    cifar10_cnn,
    cifar10_resnet,
    digits_mlp,
    imagenet_resnet,
    mnist_mlp,
    tiny_imagenet_resnet,
)
from steadystep.lab.tasks.task import Task

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK
    for module in (digits_mlp, mnist_mlp, cifar10_cnn, cifar10_resnet, tiny_imagenet_resnet, imagenet_resnet)
}


class UnknownTaskError(UserError):
    """There is no task of that name."""


def find_task(name: str) -> Task:
    """The task of that name. Raises UnknownTaskError, which lists the names there are.

    >>> find_task("digits-mlp").classes
    10
    """
    if name not in TASKS:
        raise UnknownTaskError(f"there is no task {name!r}: choose one of {', '.join(TASKS)}")
    return TASKS[name]
