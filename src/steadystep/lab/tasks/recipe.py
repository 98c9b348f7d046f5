"""How a task trains and judges, besides its model, optimizer and learning rate: the same for all its arms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from steadystep.lab.tasks.task import Split

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From outputs and labels to a mean over all labels."""

Correct = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From outputs and labels to booleans, one a label."""


class Moment(NamedTuple):
    """Where in a run a batch is."""

    epoch: int  # counted from 0
    progress: float  # share of all steps that are taken


def likeliest(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Whether the class with the largest output is the label's."""
    return outputs.argmax(1) == y


def among_first(outputs: torch.Tensor, y: torch.Tensor, k: int) -> torch.Tensor:
    """Whether the label's class is among those with the k largest outputs.

    >>> among_first(torch.tensor([[3.0, 1.0, 2.0]] * 3), torch.arange(3), k=2)
    tensor([ True, False,  True])
    """
    return (outputs.topk(k, dim=1).indices == y.unsqueeze(1)).any(1)


def as_it_is(x: torch.Tensor, chosen: torch.Tensor, now: Moment) -> torch.Tensor:
    """No augmentation."""
    return x


def one_view(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The model's outputs, and nothing else."""
    return model(x)


def _leave(model: torch.nn.Module, train: "Split") -> None:
    pass


def _no_state(model: torch.nn.Module) -> None:
    pass


@dataclass(frozen=True)
class Recipe:
    """What all arms of a task share.

    Attributes:
        loss: of a training batch.
        evaluate: loss of a validation or test batch.
        correct: which predictions are right: their share is the accuracy.
        also: further shares that the test split is asked for, such as {"top-5": ...}, by name.
        augment: the inputs of a training batch from its examples, their places in the training split, and where in
            the run they are used. It draws on the CPU, from torch's global random state alone, wherever the inputs are:
            the same for every device.
        predict: outputs for the test split; may average several views of an example.
        initialise: called once on a new model with the training split, for what starts from the data.
        restart: called on the model, in the mode that it concerns, where an epoch ends and where an evaluation begins:
            for a state that is carried from batch to batch.
        average_every: training examples between two averages of the weights, see `study.averaging`; 0: none is taken.
        channels_last: keep images with the channels innermost, as fast convolutions on a CPU want them.
        shuffled: every epoch visits the examples in another order; False: in their own, for text that goes on.
        evaluation_batch: examples at once where nothing is learned: large enough to be fast, small enough for a cache.
    """

    loss: Loss = functional.cross_entropy
    evaluate: Loss = functional.cross_entropy
    correct: Correct = likeliest
    also: Mapping[str, Correct] = field(default_factory=dict)
    augment: Callable[[torch.Tensor, torch.Tensor, Moment], torch.Tensor] = as_it_is
    predict: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor] = one_view
    initialise: Callable[[torch.nn.Module, "Split"], None] = _leave
    restart: Callable[[torch.nn.Module], None] = _no_state
    average_every: int = 0
    channels_last: bool = False
    shuffled: bool = True
    evaluation_batch: int = 1024
