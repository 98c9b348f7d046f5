"""Random weight guessing: how hard a problem is for a method that learns nothing."""

import torch

from steadystep.lab.tasks.task import Task

RANGE = 100.0
"""Weights are guessed uniformly in [-RANGE, RANGE]."""

SOLVED = 100
"""A guess has solved a problem if it is right in so many sequences one after the other."""


@torch.no_grad()
def guesses_needed(task: Task, most: int, seed: int = 0) -> int | None:
    """How many random weights were tried up to the first that solve the task; None if `most` of them do not.

    A problem that is solved within a few hundred guesses says little about a learning method. Each guess is every
    weight and bias anew, uniform in [-100, 100], and is right in the first 100 training sequences or is dropped.
    Source: Hochreiter & Schmidhuber (1997), section 1, after Hochreiter & Schmidhuber, Bridging long time lags by
    weight guessing and "long short-term memory" (1996).

    Raises ValueError where `most` is below 1.

    >>> from steadystep.lab.tasks.rnn import make_task
    >>> guesses_needed(make_task("latch", "tanh", length=20, hidden=1), most=1_000)
    206
    """
    if most < 1:
        raise ValueError(f"at least one guess is needed, got most={most}")
    train = task.load(None).train
    x, y, _ = next(train.stream(torch.arange(SOLVED), SOLVED, 0))
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=()):
        model = task.model()
    for tried in range(1, most + 1):
        for parameter in model.parameters():
            parameter.uniform_(-RANGE, RANGE, generator=random)
        if bool(task.recipe.correct(model(x), y).all()):
            return tried
    return None
