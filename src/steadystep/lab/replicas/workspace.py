"""A workspace in which a group of replicas is trained: memory that stays in a core's cache, and operations on it."""

from collections.abc import Sequence

import numpy as np
import torch

from steadystep.lab.replicas.compiled.executable import Executable
from steadystep.lab.replicas.compiled.ops import gather_instruction
from steadystep.lab.replicas.memory_layout import Layout
from steadystep.lab.replicas.model import TensorSpec, evaluation_graph, step_graph
from steadystep.lab.tasks.splits import Arrays, Batch
from steadystep.lab.tasks.task import Task
from steadystep.lab.training.evaluation import Evaluation, make_evaluation, metric_functions


class Workspace:
    """Memory and executables for a fixed number of replicas of a task's model.

    Args:
        task: the task.
        layout: the memory layout of a replica.
        replicas: the number of replicas.
        dtype: of the parameters.
        specs: shape and dtype of a batch's examples and of its labels.
        examples: the examples that `set_indices` refers to. Without them batches are set with `set_batch`.

    Attributes:
        memory: the parameters of each replica, (replicas, layout.stride).
        parameters: views into `memory`, (replicas, ...) each.
        x, y: the batches of a step, (replicas, batch, ...).
        losses: the losses that `compute_gradients` writes, (replicas,).
        gradients: the gradients that it writes, contiguous and of the parameters' shapes.
    """

    def __init__(
        self,
        task: Task,
        layout: Layout,
        replicas: int,
        dtype: torch.dtype,
        specs: tuple[TensorSpec, TensorSpec],
        examples: Arrays | None = None,
    ) -> None:
        self._task, self._layout, self._replicas = task, layout, replicas
        self.memory = torch.zeros(replicas, layout.stride, dtype=dtype)
        self.parameters = layout.views(self.memory)
        self.x, self.y = (torch.zeros(replicas, *shape, dtype=dtype) for shape, dtype in specs)
        self._flat_x, self._flat_y = self.x.flatten(0, 1).numpy(), self.y.flatten(0, 1).numpy()
        indices = torch.zeros(replicas, self.y.shape[1], dtype=torch.int64)
        self._indices = indices.numpy()
        pairs = ((examples.x, self.x), (examples.y, self.y)) if examples is not None else ()
        gathers = [gather_instruction(source.contiguous(), indices, target, dtype) for source, target in pairs]
        graph = step_graph(task, layout, replicas, dtype, *specs)
        self._step = Executable(graph, [self.x, self.y, *self.parameters], before=gathers)
        self.losses, *gradients = self._step.outputs
        self.gradients = [gradient.contiguous() for gradient in gradients]
        self._copies = [
            (target, source) for target, source in zip(self.gradients, gradients, strict=True) if target is not source
        ]
        self._evaluations: dict[
            tuple[bool, tuple[TensorSpec, TensorSpec]], tuple[torch.Tensor, torch.Tensor, Executable]
        ] = {}

    def set_batch(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Set the batches of the next step; x and y concatenate the examples of all replicas."""
        # With NumPy: torch takes four times as long for a few kilobytes.
        self._flat_x[:] = x.numpy()
        self._flat_y[:] = y.numpy()

    def set_indices(self, indices: np.ndarray) -> None:
        """Set the indices of the examples that `compute_gradients` gathers: (replicas, batch), int64."""
        self._indices[:] = indices

    def compute_gradients(self) -> None:
        """Compute the losses and gradients of the current batches at the current parameters."""
        self._step.run()
        for target, source in self._copies:
            target.copy_(source)

    def evaluate(self, batches: Sequence[Batch], *, test: bool = False) -> list[Evaluation]:
        """Evaluate each replica on all batches of a split; with `test`, compute all metrics of the test split."""
        names = list(metric_functions(self._task.recipe, test))
        totals, labels = np.zeros((1 + len(names), self._replicas)), 0
        for x, y, _ in batches:
            loss, *counts = self._evaluate_batch(x, y, test)
            totals += [loss * y.numel(), *counts]
            labels += y.numel()
        return [
            make_evaluation(loss / labels, dict(zip(names, counts, strict=True)), labels)
            for loss, *counts in totals.T.tolist()
        ]

    def _evaluate_batch(self, x: torch.Tensor, y: torch.Tensor, test: bool) -> list[np.ndarray]:
        """Return each replica's mean loss and metric counts on a batch that all replicas share."""
        specs = (x.shape, x.dtype), (y.shape, y.dtype)
        if (test, specs) not in self._evaluations:
            graph = evaluation_graph(self._task, test, self._layout, self._replicas, self.memory.dtype, *specs)
            inputs = torch.zeros_like(x), torch.zeros_like(y)
            self._evaluations[test, specs] = (*inputs, Executable(graph, [*inputs, *self.parameters]))
        x_input, y_input, executable = self._evaluations[test, specs]
        x_input.copy_(x)
        y_input.copy_(y)
        executable.run()
        return [output.numpy().astype(np.float64) for output in executable.outputs]
