"""Loss and accuracy of a model on a split."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from steadystep.lab.tasks.recipe import Correct, Recipe
from steadystep.lab.tasks.splits import Split
from steadystep.lab.training.device import CPU
from steadystep.lab.training.ranks import ALONE, Ranks


class Evaluation(NamedTuple):
    """The metrics of a model on a split."""

    loss: float  # mean over all labels
    accuracy: float  # fraction of 1
    also: dict[str, float] = {}  # the recipe's further metrics by name, such as top-5: fractions of 1


def at_least_float32(outputs: torch.Tensor) -> torch.Tensor:
    """Convert half-precision outputs of autocast to float32, so that the loss is not computed in half precision."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    split: Split,
    recipe: Recipe,
    *,
    test: bool = False,
    device: torch.device = CPU,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Evaluate the model in evaluation mode on all examples of a split.

    Args:
        model: Model to evaluate.
        split: Validation or test split.
        recipe: Recipe of the task: loss, metrics and batch size.
        test: Whether this is the test split, which is evaluated with the recipe's `predict` and all its metrics.
        device: Device of the model.
        ranks: The processes that share out the rows of every batch, and all get the result.
    """
    was_training = model.training
    model.eval()
    loss, labels = 0.0, 0
    metrics = metric_functions(recipe, test)
    correct = dict.fromkeys(metrics, 0)
    whole = None
    stream = split.stream(order := torch.arange(len(split)), recipe.evaluation_batch, 0, ranks.rows)
    for indices, batch in zip(order.split(recipe.evaluation_batch), stream, strict=True):
        if len(indices) != whole:  # state that is carried from batch to batch belongs to batches of one size
            recipe.restart(model)
            whole = len(indices)
        x, y, _ = batch.to(device)
        if not len(y):
            continue
        outputs = at_least_float32(recipe.predict(model, x) if test else model(x))
        loss += recipe.evaluate(outputs, y).item() * y.numel()
        labels += y.numel()
        for name, metric in metrics.items():
            correct[name] += int(metric(outputs, y).sum())
    model.train(was_training)
    loss, labels, *counts = ranks.sum([loss, labels, *correct.values()])
    return make_evaluation(loss / labels, dict(zip(correct, counts, strict=True)), int(labels))


def metric_functions(recipe: Recipe, test: bool) -> dict[str, Correct]:
    """Return the metrics by name: accuracy under the name "", and for the test split the recipe's further metrics."""
    return {"": recipe.correct, **(recipe.also if test else {})}


def make_evaluation(loss: float, correct: Mapping[str, float], labels: int) -> Evaluation:
    """Make an Evaluation from the mean loss and the number of correct labels for each metric."""
    also = {name: count / labels for name, count in correct.items()}
    return Evaluation(loss, also.pop(""), also)
