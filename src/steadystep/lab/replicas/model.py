"""A task's model for several replicas at once, as graphs: what a step computes, and what an evaluation does."""

from collections.abc import Callable
from functools import cache

import torch
from torch.func import functional_call, grad_and_value, vjp, vmap
from torch.fx import Graph
from torch.nn import functional

from steadystep.lab.replicas.compiled.exp_log import EXPONENTIALS
from steadystep.lab.replicas.compiled.fusion import cross_entropy, fused
from steadystep.lab.replicas.compiled.fx_trace import traced
from steadystep.lab.replicas.memory_layout import Layout
from steadystep.lab.tasks.recipe import Loss
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.evaluation import asked

Kind = tuple[torch.Size, torch.dtype]
"""The shape and type of a batch's examples, or of its labels."""

Outputs = Callable[..., torch.Tensor]
"""From inputs and parameters, in the model's order, to outputs."""


@cache
def step_graph(task: Task, layout: Layout, replicas: int, dtype: torch.dtype, x: Kind, y: Kind) -> Graph:
    """From x, y and parameters, (replicas, ...) each, to the replicas' losses and their parameters' gradients."""
    outputs = _outputs(task, training=True)

    def back(x: torch.Tensor, gradient: torch.Tensor, *parameters: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pull = vjp(lambda *parameters: outputs(x, *parameters), *parameters)[1]
        return pull(gradient)

    def step(x: torch.Tensor, y: torch.Tensor, *parameters: torch.Tensor) -> list[torch.Tensor]:
        # Forwards twice as it is written here; of what is computed twice, a trace keeps one.
        losses, gradients = _with_gradient(task.recipe.loss, vmap(outputs)(x, *parameters), y)
        return [losses, *vmap(back)(x, gradients, *parameters)]

    parameters = layout.tensors(torch.zeros(replicas, layout.stride, dtype=dtype))
    examples = (torch.zeros(replicas, *shape, dtype=kind) for shape, kind in (x, y))
    return fused(traced(step, *examples, *parameters))


@cache
def judging_graph(task: Task, test: bool, layout: Layout, replicas: int, dtype: torch.dtype, x: Kind, y: Kind) -> Graph:
    """From x and y, which all replicas share, and their parameters to what an evaluation adds up, (replicas,) each."""
    outputs = _outputs(task, training=False)
    shares = asked(task.recipe, test).values()

    def judge(x: torch.Tensor, y: torch.Tensor, *parameters: torch.Tensor) -> list[torch.Tensor]:
        found = vmap(outputs, (None, *[0] * len(parameters)))(x, *parameters)
        losses, _ = _with_gradient(task.recipe.evaluate, found, y.expand(replicas, *y.shape))
        return [losses, *(vmap(lambda found, share=share: share(found, y).sum())(found) for share in shares)]

    parameters = layout.tensors(torch.zeros(replicas, layout.stride, dtype=dtype))
    examples = (torch.zeros(shape, dtype=kind) for shape, kind in (x, y))
    return fused(traced(judge, *examples, *parameters))


def _outputs(task: Task, *, training: bool) -> Outputs:
    with torch.random.fork_rng(devices=()):
        model = task.model().train(training).to("meta")
    names = [name for name, _ in model.named_parameters()]

    def outputs(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return functional_call(model, dict(zip(names, parameters, strict=True)), (x,))

    return outputs


def _with_gradient(loss: Loss, outputs: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The losses of all replicas from their outputs and labels, and the losses' gradients by the outputs."""
    of_classes = loss is functional.cross_entropy and outputs.dim() == 3 and y.dim() == 2 and y.dtype == torch.int64
    if of_classes and outputs.dtype in EXPONENTIALS:
        return cross_entropy(outputs, y)
    gradients, losses = vmap(grad_and_value(loss))(outputs, y)
    return losses, gradients
