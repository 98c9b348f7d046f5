"""The tasks, one a file. Adding one is a file that defines TASK and a row here."""

from steadystep.lab.errors import UserError
from steadystep.lab.tasks import (
    charlm_transformer,
    cifar10_cnn,
    cifar10_resnet,
    digits_mlp,
    fashion_mlp,
    imagenet_resnet,
    mnist_mlp,
    mnist_mlp_augmented,
    ptb_lstm,
    rnn,
    tiny_imagenet_resnet,
)
from steadystep.lab.tasks.task import Task

_ALL = (
    digits_mlp.TASK,
    mnist_mlp.TASK,
    mnist_mlp_augmented.TASK,
    fashion_mlp.TASK,
    cifar10_cnn.TASK,
    cifar10_cnn.WIDE,
    cifar10_resnet.TASK,
    imagenet_resnet.TASK,
    tiny_imagenet_resnet.TASK,
    *rnn.TASKS,
    ptb_lstm.TASK,
    charlm_transformer.TASK,
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}


class UnknownTaskError(UserError):
    """There is no task of that name."""


def find_task(name: str) -> Task:
    """The task of that name, or of one such as rnn-addition:lstm:100:50 that says its options.

    Raises:
        UnknownTaskError: which lists the names there are.
        UserError: for options that there are not.

    >>> find_task("digits-mlp").classes
    10
    """
    if name.startswith("rnn-") and ":" in name:
        return rnn.find_sequence_task(name)
    if name not in TASKS:
        raise UnknownTaskError(f"there is no task {name!r}: choose one of {', '.join(TASKS)}")
    return TASKS[name]
