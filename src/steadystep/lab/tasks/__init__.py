"""The tasks, one a file. Adding one is a file that defines TASK and a row here."""

from collections.abc import Callable

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
    cifar10_resnet.TASK,
    imagenet_resnet.TASK,
    tiny_imagenet_resnet.TASK,
    *rnn.TASKS,
    ptb_lstm.TASK,
    charlm_transformer.TASK,
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}

_WITH_OPTIONS: dict[str, Callable[[str], Task]] = {
    **dict.fromkeys((task.name for task in rnn.TASKS), rnn.find_sequence_task),
    "cifar10-cnn": cifar10_cnn.find,
    "cifar10-resnet": cifar10_resnet.find,
    "imagenet-resnet": imagenet_resnet.find,
}
"""By a task's name: what makes the task of a name that goes on with options after a colon."""


class UnknownTaskError(UserError):
    """There is no task of that name."""


def find_task(name: str) -> Task:
    """The task of that name, or of one that goes on with its options.

    Those are rnn-addition:lstm:100:50 (cell, length, units), cifar10-cnn:64:256:256 (widths) and imagenet-resnet:18
    (depth).

    Raises:
        UnknownTaskError: which lists the names there are.
        UserError: for options that there are not.

    >>> find_task("digits-mlp").classes
    10
    """
    family, has_options, _ = name.partition(":")
    if has_options and family in _WITH_OPTIONS:
        return _WITH_OPTIONS[family](name)
    if name not in TASKS:
        raise UnknownTaskError(f"there is no task {name!r}: choose one of {', '.join(TASKS)}")
    return TASKS[name]
