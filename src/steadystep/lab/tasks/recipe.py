"""The recipe of a task: how all its arms are trained and evaluated, apart from model, optimizer and learning rate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch.nn import functional

from steadystep.lab.tasks.splits import Split

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A function of outputs and labels that returns the mean over all labels."""

Correct = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A function of outputs and labels that returns one boolean per label."""


class Moment(NamedTuple):
    """The position of a batch within a run."""

    epoch: int  # counted from 0
    progress: float  # fraction of the run's steps that are already taken


def top1_correct(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return whether the class with the largest output is the label's class."""
    return outputs.argmax(1) == y


def topk_correct(outputs: torch.Tensor, y: torch.Tensor, k: int) -> torch.Tensor:
    """Return whether the label's class is among the classes with the k largest outputs.

    >>> topk_correct(torch.tensor([[3.0, 1.0, 2.0]] * 3), torch.arange(3), k=2)
    tensor([ True, False,  True])
    """
    return (outputs.topk(k, dim=1).indices == y.unsqueeze(1)).any(1)


def no_augmentation(x: torch.Tensor, indices: torch.Tensor, now: Moment) -> torch.Tensor:
    """Return the inputs unchanged."""
    return x


def single_view(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the model's outputs for the inputs as they are."""
    return model(x)


def _no_initialisation(model: torch.nn.Module, train: Split) -> None:
    pass


def _no_restart(model: torch.nn.Module) -> None:
    pass


@dataclass(frozen=True)
class Recipe:
    """The training and evaluation settings that all arms of a task share.

    Attributes:
        loss: Loss of a training batch.
        evaluate: Loss of a validation or test batch.
        correct: Which predictions are correct; their share is the accuracy.
        also: Further measures of accuracy on the test split, by name, such as {"top-5": ...}.
        augment: Returns the inputs of a training batch, given the examples, their indices in the training split and
            the position in the run. Random numbers are drawn on the CPU, from torch's global random state only,
            wherever the inputs are, so that they are the same for every device.
        predict: Returns the outputs for the test split; may average over several views of an example.
        initialise: Called once on a new model with the training split, to initialise what depends on the data.
        restart: Called on the model at the end of an epoch and at the start of an evaluation, with the model in the
            mode concerned; resets a state that is carried from batch to batch.
        average_every: Training examples between two averages of the weights, see `training.weight_average`; 0 for no
            averaging.
        channels_last: Store images with the channels innermost, which makes convolutions on a CPU fast.
        shuffled: Visit the examples in a new order in every epoch. False keeps their order, for continuous text.
        evaluation_batch: Examples per batch in evaluation: large enough to be fast, small enough for a cache.
    """

    loss: Loss = functional.cross_entropy
    evaluate: Loss = functional.cross_entropy
    correct: Correct = top1_correct
    also: Mapping[str, Correct] = field(default_factory=dict)
    augment: Callable[[torch.Tensor, torch.Tensor, Moment], torch.Tensor] = no_augmentation
    predict: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor] = single_view
    initialise: Callable[[torch.nn.Module, Split], None] = _no_initialisation
    restart: Callable[[torch.nn.Module], None] = _no_restart
    average_every: int = 0
    channels_last: bool = False
    shuffled: bool = True
    evaluation_batch: int = 1024
