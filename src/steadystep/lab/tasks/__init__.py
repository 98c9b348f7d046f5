"""The tasks, one a file. Adding one is a file that defines TASK and a row here."""

from steadystep.lab.errors import UserError
from steadystep.lab.tasks import cifar10_cnn, digits_mlp, fashion_mlp, mnist_mlp, mnist_mlp_augmented, rnn
from steadystep.lab.tasks.task import Task

_IMAGES = (digits_mlp.TASK, mnist_mlp.TASK, mnist_mlp_augmented.TASK, fashion_mlp.TASK, cifar10_cnn.TASK)

TASKS: dict[str, Task] = {task.name: task for task in (*_IMAGES, *rnn.TASKS)}


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
