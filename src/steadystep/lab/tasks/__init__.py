"""The tasks, one file each. To add a task, write a file that defines TASK and list it here."""

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
from steadystep.lab.tasks.names import closest_name
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
"""By task name: the function that makes a task from a name with options after a colon."""


class UnknownTaskError(UserError):
    """Raised when there is no task of the given name."""


def find_task(name: str) -> Task:
    """Return the task of the given name, in any case, which may end with options.

    Examples with options are rnn-addition:lstm:100:50 (cell, length, units), cifar10-cnn:64:256:256 (widths),
    cifar10-resnet:18 and imagenet-resnet:18 (depth).

    Raises:
        UnknownTaskError: If there is no such task; the message lists all names.
        UserError: If the options are invalid.

    >>> find_task("digits-mlp").classes
    10
    """
    lower = name.strip().lower()
    family, has_options, _ = lower.partition(":")
    if has_options and family in _WITH_OPTIONS:
        return _WITH_OPTIONS[family](lower)
    if lower not in TASKS:
        closest = closest_name(family, TASKS)
        hint = f"; did you mean {closest}?" if closest else ""
        raise UnknownTaskError(f"there is no task {name!r}: choose one of {', '.join(TASKS)}{hint}")
    return TASKS[lower]
