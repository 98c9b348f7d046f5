"""Many models of one shape as one: stacked parameters, and all losses and gradients by batched operations."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise

import torch
from torch.func import functional_call, grad_and_value, vmap

from steadystep.lab.study.evaluation import Evaluation, asked, judged
from steadystep.lab.study.replicas.traced import traced
from steadystep.lab.tasks.task import Split, Task

AT_A_TIME = 16
"""Replicas in one batched operation, at most: starting one takes as long as a replica's share of most of them."""

Gradients = list[tuple[torch.Tensor, ...]]
"""For each replica one gradient a parameter, contiguous."""


class ReplicatedModel:
    """The parameters of all replicas, (replicas, ...) each, and what they give on batches of their own."""

    def __init__(self, task: Task, models: Sequence[torch.nn.Module]) -> None:
        self._task = task
        self.names = [name for name, _ in models[0].named_parameters()]
        rows = zip(*(model.parameters() for model in models), strict=True)
        self.parameters = [torch.stack([row.detach() for row in replicas]) for replicas in rows]

    @property
    def replicas(self) -> int:
        return len(self.parameters[0])

    @property
    def size(self) -> int:
        """Parameters of one replica."""
        return sum(parameter.shape[1:].numel() for parameter in self.parameters)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these replicas alone."""
        self.parameters = [parameter[rows] for parameter in self.parameters]

    def row(self, replica: int) -> dict[str, torch.Tensor]:
        """One replica's parameters by name: views."""
        return {name: parameter[replica] for name, parameter in zip(self.names, self.parameters, strict=True)}

    def losses_and_gradients(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, Gradients]:
        """Mean loss of each replica on its batch, and its gradients. x: (replicas, batch, ...)."""
        losses: list[torch.Tensor] = []
        gradients: Gradients = []
        for part in self._parts():
            run = _losses_and_gradients(self._task, part.stop - part.start, x.shape[1:], x.dtype, y.shape[1:], y.dtype)
            of_parameters, of_part = run([parameter[part] for parameter in self.parameters], x[part], y[part])
            losses.append(of_part)
            gradients.extend(zip(*(gradient.contiguous().unbind() for gradient in of_parameters), strict=True))
        return torch.cat(losses), gradients

    @torch.no_grad()
    def evaluate(self, split: Split, *, test: bool = False) -> list[Evaluation]:
        """What the split says of each replica; the test split with all the shares that the recipe asks for."""
        recipe = self._task.recipe
        batches = list(split.stream(torch.arange(len(split)), recipe.evaluation_batch, 0))
        labels = sum(y.numel() for _, y, _ in batches)
        names = list(asked(recipe, test))
        found: list[Evaluation] = []
        for part in self._parts():
            parameters, replicas = [parameter[part] for parameter in self.parameters], part.stop - part.start
            totals = torch.zeros(1 + len(names), replicas, dtype=torch.float64)
            for x, y, _ in batches:
                run = _losses_and_counts(self._task, test, replicas, x.shape, x.dtype, y.shape, y.dtype)
                loss, *counts = (row.double() for row in run(parameters, x, y))
                totals += torch.stack([loss * y.numel(), *counts])
            for loss, *counts in totals.T.tolist():
                found.append(judged(loss / labels, dict(zip(names, counts, strict=True)), labels))
        return found

    def _parts(self) -> list[slice]:
        """The replicas in parts of about equal size: each new size has to be traced."""
        parts = -(-self.replicas // AT_A_TIME)
        bounds = [self.replicas * number // parts for number in range(parts + 1)]
        return [slice(*ends) for ends in pairwise(bounds)]


@cache
def _losses_and_gradients(
    task: Task, replicas: int, batch: torch.Size, dtype: torch.dtype, labels: torch.Size, kind: torch.dtype
) -> Callable[..., tuple[list[torch.Tensor], torch.Tensor]]:
    """From stacked parameters, inputs and labels to gradients and losses."""
    outputs, stacked = _model(task, replicas)

    def loss(parameters: Sequence[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return task.recipe.loss(outputs(parameters, x), y)

    x = torch.zeros(replicas, *batch, dtype=dtype)
    y = torch.zeros(replicas, *labels, dtype=kind)
    return traced(vmap(grad_and_value(loss)), stacked, x, y)


@cache
def _losses_and_counts(
    task: Task,
    test: bool,
    replicas: int,
    batch: torch.Size,
    dtype: torch.dtype,
    labels: torch.Size,
    kind: torch.dtype,
) -> Callable[..., tuple[torch.Tensor, ...]]:
    """From stacked parameters, and inputs and labels that all replicas share, to what `evaluate` adds up."""
    outputs, stacked = _model(task, replicas, training=False)
    shares = asked(task.recipe, test).values()

    def judge(parameters: Sequence[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = outputs(parameters, x)
        return task.recipe.evaluate(found, y), *(share(found, y).sum() for share in shares)

    x, y = torch.zeros(batch, dtype=dtype), torch.zeros(labels, dtype=kind)
    return traced(vmap(judge, in_dims=(0, None, None)), stacked, x, y)


def _model(
    task: Task, replicas: int, *, training: bool = True
) -> tuple[Callable[[Sequence[torch.Tensor], torch.Tensor], torch.Tensor], list[torch.Tensor]]:
    """The outputs of the task's model as a function of its parameters and inputs; and parameters, stacked, of zeros."""
    with torch.random.fork_rng(devices=()):
        model = task.model().train(training)
    parameters: Mapping[str, torch.Tensor] = dict(model.named_parameters())
    stacked = [torch.zeros(replicas, *parameter.shape, dtype=parameter.dtype) for parameter in parameters.values()]
    skeleton, names = model.to("meta"), list(parameters)

    def outputs(parameters: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional_call(skeleton, dict(zip(names, parameters, strict=True)), (x,))

    return outputs, stacked
