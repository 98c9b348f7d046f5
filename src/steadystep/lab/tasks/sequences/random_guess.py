"""Random weight guessing, a baseline that shows how hard a problem is without any learning."""

import torch

from steadystep.lab.tasks.task import Task

RANGE = 100.0
"""Weights are guessed uniformly in [-RANGE, RANGE]."""

SOLVED = 100
"""A guess solves a problem if it is correct for this many sequences in a row."""


@torch.no_grad()
def guesses_needed(task: Task, most: int, seed: int = 0) -> int | None:
    """Return how many random guesses of the weights it takes to solve the task, or None if `most` guesses fail.

    A problem that is solved within a few hundred guesses says little about a learning method. Each guess draws every
    weight and bias uniformly from [-100, 100], and solves the task if the first 100 training sequences are correct.
    Source: Hochreiter & Schmidhuber (1997), section 1, after Hochreiter & Schmidhuber, Bridging long time lags by
    weight guessing and "long short-term memory" (1996).

    Raises:
        ValueError: If `most` is below 1.

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
