"""Graphs of a task's model for several replicas at once: one for a training step and one for an evaluation."""

from collections.abc import Callable
from functools import cache

import torch
from torch.func import functional_call, grad_and_value, vjp, vmap
from torch.fx import Graph
from torch.nn import functional

from steadystep.lab.replicas.compiled.exp_log import EXP_LOG
from steadystep.lab.replicas.compiled.fusion import cross_entropy, fuse
from steadystep.lab.replicas.compiled.fx_trace import trace
from steadystep.lab.replicas.memory_layout import Layout
from steadystep.lab.tasks.recipe import Loss
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.evaluation import metric_functions

TensorSpec = tuple[torch.Size, torch.dtype]
"""The shape and dtype of a batch's examples, or of its labels."""

Forward = Callable[..., torch.Tensor]
"""A function of inputs and parameters, in the model's order, that returns outputs."""


@cache
def step_graph(task: Task, layout: Layout, replicas: int, dtype: torch.dtype, x: TensorSpec, y: TensorSpec) -> Graph:
    """Return the graph of a training step.

    Its inputs are x, y and the parameters, its outputs the losses and the gradients of the parameters;
    (replicas, ...) each.
    """
    forward = _forward(task, training=True)

    def backward(x: torch.Tensor, gradient: torch.Tensor, *parameters: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pullback = vjp(lambda *parameters: forward(x, *parameters), *parameters)[1]
        return pullback(gradient)

    def step(x: torch.Tensor, y: torch.Tensor, *parameters: torch.Tensor) -> list[torch.Tensor]:
        # The forward pass is written twice here. `trace` removes repeated operations, so it is computed once.
        losses, gradients = _loss_and_gradient(task.recipe.loss, vmap(forward)(x, *parameters), y)
        return [losses, *vmap(backward)(x, gradients, *parameters)]

    parameters = layout.views(torch.zeros(replicas, layout.stride, dtype=dtype))
    examples = (torch.zeros(replicas, *shape, dtype=dtype) for shape, dtype in (x, y))
    return fuse(trace(step, *examples, *parameters))


@cache
def evaluation_graph(
    task: Task, test: bool, layout: Layout, replicas: int, dtype: torch.dtype, x: TensorSpec, y: TensorSpec
) -> Graph:
    """Return the graph of the evaluation of one batch.

    Its inputs are x and y, which all replicas share, and the replicas' parameters. Its outputs are the mean loss and
    the counts of the recipe's metrics, (replicas,) each.
    """
    forward = _forward(task, training=False)
    metrics = metric_functions(task.recipe, test).values()

    def evaluate(x: torch.Tensor, y: torch.Tensor, *parameters: torch.Tensor) -> list[torch.Tensor]:
        outputs = vmap(forward, (None, *[0] * len(parameters)))(x, *parameters)
        losses, _ = _loss_and_gradient(task.recipe.evaluate, outputs, y.expand(replicas, *y.shape))
        return [losses, *(vmap(lambda outputs, metric=metric: metric(outputs, y).sum())(outputs) for metric in metrics)]

    parameters = layout.views(torch.zeros(replicas, layout.stride, dtype=dtype))
    examples = (torch.zeros(shape, dtype=dtype) for shape, dtype in (x, y))
    return fuse(trace(evaluate, *examples, *parameters))


def _forward(task: Task, *, training: bool) -> Forward:
    """Return the model as a function of inputs and parameters."""
    with torch.random.fork_rng(devices=()):
        model = task.model().train(training).to("meta")
    names = [name for name, _ in model.named_parameters()]

    def forward(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return functional_call(model, dict(zip(names, parameters, strict=True)), (x,))

    return forward


def _loss_and_gradient(loss: Loss, outputs: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the losses of all replicas, and their gradients with respect to the outputs."""
    classifies = loss is functional.cross_entropy and outputs.dim() == 3 and y.dim() == 2 and y.dtype == torch.int64
    if classifies and outputs.dtype in EXP_LOG:
        return cross_entropy(outputs, y)
    gradients, losses = vmap(grad_and_value(loss))(outputs, y)
    return losses, gradients
