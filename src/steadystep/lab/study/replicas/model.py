"""Many models of one shape as one: stacked parameters, and all losses and gradients by batched operations."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise

import torch
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional

from steadystep.lab.study.evaluation import BATCH
from steadystep.lab.study.replicas.traced import traced
from steadystep.lab.tasks.task import Split

AT_A_TIME = 8
"""Replicas in one batched operation: few enough that what they leave stays in a core's cache for the next one."""

Gradients = list[tuple[torch.Tensor, ...]]
"""For each replica one gradient a parameter, contiguous."""


class ReplicatedModel:
    """The parameters of all replicas, (replicas, ...) each, and what they give on batches of their own."""

    def __init__(self, make_model: Callable[[], torch.nn.Module], models: Sequence[torch.nn.Module]) -> None:
        self._make_model = make_model
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
        """Mean cross-entropy of each replica on its batch, and its gradients. x: (replicas, batch, ...)."""
        losses: list[torch.Tensor] = []
        gradients: Gradients = []
        for part in self._parts():
            run = _losses_and_gradients(self._make_model, part.stop - part.start, x.shape[1:], x.dtype)
            of_parameters, of_part = run([parameter[part] for parameter in self.parameters], x[part], y[part])
            losses.append(of_part)
            gradients.extend(zip(*(gradient.contiguous().unbind() for gradient in of_parameters), strict=True))
        return torch.cat(losses), gradients

    @torch.no_grad()
    def evaluate(self, split: Split) -> list[tuple[float, float]]:
        """For each replica mean cross-entropy and accuracy (a fraction of 1) over all examples."""
        batches = list(zip(split.x.split(BATCH), split.y.split(BATCH), strict=True))
        found: list[tuple[float, float]] = []
        for part in self._parts():
            parameters = [parameter[part] for parameter in self.parameters]
            losses = torch.zeros(part.stop - part.start, dtype=torch.float64)
            correct = torch.zeros_like(losses)
            for x, y in batches:
                outputs = vmap(self._outputs, in_dims=(0, None))(parameters, x)
                log_likelihood = functional.log_softmax(outputs, -1).gather(-1, y.expand(len(losses), -1)[..., None])
                losses -= log_likelihood.sum((1, 2))
                correct += (outputs.argmax(-1) == y).sum(-1)
            found.extend(zip((losses / len(split.y)).tolist(), (correct / len(split.y)).tolist(), strict=True))
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
    make_model: Callable[[], torch.nn.Module], replicas: int, batch: torch.Size, dtype: torch.dtype
) -> Callable[..., tuple[list[torch.Tensor], torch.Tensor]]:
    """From stacked parameters, inputs and labels to gradients and losses."""
    with torch.random.fork_rng(devices=()):
        model = make_model().train()
    parameters: Mapping[str, torch.Tensor] = dict(model.named_parameters())
    skeleton = model.to("meta")

    def loss(parameters: Sequence[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        outputs = functional_call(skeleton, dict(zip(names, parameters, strict=True)), (x,))
        return functional.cross_entropy(outputs, y)

    names = list(parameters)
    stacked = [torch.zeros(replicas, *parameter.shape, dtype=parameter.dtype) for parameter in parameters.values()]
    x = torch.zeros(replicas, *batch, dtype=dtype)
    y = torch.zeros(replicas, batch[0], dtype=torch.int64)
    return traced(vmap(grad_and_value(loss)), stacked, x, y)
