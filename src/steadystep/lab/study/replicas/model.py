"""Many models of one shape as one: stacked parameters, and all losses and gradients by batched operations."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise

import torch
from torch.func import functional_call, grad_and_value, vmap

from steadystep.lab.study.evaluation import Evaluation, asked, judged
from steadystep.lab.study.replicas.traced import traced
from steadystep.lab.tasks.task import Split, Task

AT_A_TIME = 8
"""Replicas in one batched operation: few enough that what they leave stays in a core's cache for the next one."""

Gradients = list[tuple[torch.Tensor, ...]]
"""For each replica one gradient a parameter, contiguous."""


class ReplicatedModel:
    """The parameters of all replicas, (replicas, ...) each, and what they give on batches of their own."""

    def __init__(self, task: Task, models: Sequence[torch.nn.Module]) -> None:
        self._task = task
        self._skeleton = copy.deepcopy(models[0]).to("meta").eval()
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
        shares = asked(recipe, test)
        found: list[Evaluation] = []
        for part in self._parts():
            parameters = [parameter[part] for parameter in self.parameters]
            losses = torch.zeros(part.stop - part.start, dtype=torch.float64)
            right = {name: torch.zeros_like(losses) for name in shares}
            for x, y, _ in batches:
                outputs = vmap(self._outputs, in_dims=(0, None))(parameters, x)
                losses += vmap(recipe.evaluate, in_dims=(0, None))(outputs, y) * y.numel()
                for name, share in shares.items():
                    right[name] += vmap(share, in_dims=(0, None))(outputs, y).flatten(1).sum(1)
            for replica, loss in enumerate((losses / labels).tolist()):
                found.append(judged(loss, {name: count[replica].item() for name, count in right.items()}, labels))
        return found

    def _outputs(self, parameters: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional_call(self._skeleton, dict(zip(self.names, parameters, strict=True)), (x,))

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
    with torch.random.fork_rng(devices=()):
        model = task.model().train()
    parameters: Mapping[str, torch.Tensor] = dict(model.named_parameters())
    skeleton = model.to("meta")

    def loss(parameters: Sequence[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        outputs = functional_call(skeleton, dict(zip(names, parameters, strict=True)), (x,))
        return task.recipe.loss(outputs, y)

    names = list(parameters)
    stacked = [torch.zeros(replicas, *parameter.shape, dtype=parameter.dtype) for parameter in parameters.values()]
    x = torch.zeros(replicas, *batch, dtype=dtype)
    y = torch.zeros(replicas, *labels, dtype=kind)
    return traced(vmap(grad_and_value(loss)), stacked, x, y)
