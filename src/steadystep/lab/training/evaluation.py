"""Loss and accuracy of a model on a split."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from steadystep.lab.tasks.recipe import Correct, Recipe
from steadystep.lab.tasks.task import Split
from steadystep.lab.training.device import CPU


class Evaluation(NamedTuple):
    """What a split says of a model."""

    loss: float  # mean over all labels
    accuracy: float  # fraction of 1
    also: dict[str, float] = {}  # the recipe's further shares, by name: fractions of 1


def at_least_float32(outputs: torch.Tensor) -> torch.Tensor:
    """Losses are not computed in the half precision that outputs under autocast have."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


@torch.no_grad()
def evaluate(
    model: torch.nn.Module, split: Split, recipe: Recipe, *, test: bool = False, device: torch.device = CPU
) -> Evaluation:
    """In evaluation mode, over all examples; the test split with all the views and shares that the recipe asks for.

    `device` is where the model is.
    """
    was_training = model.training
    model.eval()
    recipe.restart(model)
    loss, labels = 0.0, 0
    shares = asked(recipe, test)
    right = dict.fromkeys(shares, 0)
    for batch in split.stream(torch.arange(len(split)), recipe.evaluation_batch, 0):
        x, y, _ = batch.to(device)
        outputs = at_least_float32(recipe.predict(model, x) if test else model(x))
        loss += recipe.evaluate(outputs, y).item() * y.numel()
        labels += y.numel()
        for name, share in shares.items():
            right[name] += int(share(outputs, y).sum())
    model.train(was_training)
    return judged(loss / labels, right, labels)


def asked(recipe: Recipe, test: bool) -> dict[str, Correct]:
    """What is counted: right predictions under the name "", and for the test split what else the recipe asks for."""
    return {"": recipe.correct, **(recipe.also if test else {})}


def judged(loss: float, right: Mapping[str, float], labels: int) -> Evaluation:
    """From a mean loss and from counts, by the names in `asked`, over so many labels."""
    also = {name: count / labels for name, count in right.items()}
    return Evaluation(loss, also.pop(""), also)
