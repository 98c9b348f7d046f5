"""Where a few replicas are worked on: memory that stays in a core's cache, and all operations bound to it."""

from collections.abc import Sequence

import numpy as np
import torch

from steadystep.lab.replicas.compiled.executable import Plan
from steadystep.lab.replicas.compiled.ops import chosen_line
from steadystep.lab.replicas.memory_layout import Layout
from steadystep.lab.replicas.model import Kind, judging_graph, step_graph
from steadystep.lab.tasks.task import Arrays, Batch, Task
from steadystep.lab.training.evaluation import Evaluation, asked, judged


class Desk:
    """The place of so many replicas of a task's model.

    Args:
        kinds: of a batch's examples and of their labels.
        examples: of which `choose` names the batches; without them `put` brings them.

    Attributes:
        memory: (replicas, layout.stride), the parameters of each.
        parameters: views of it, (replicas, ...) each.
        x, y: the batches of a step, (replicas, batch, ...).
        losses: what `compute` finds, (replicas,).
        gradients: and these, as the parameters, contiguous.
    """

    def __init__(
        self,
        task: Task,
        layout: Layout,
        replicas: int,
        dtype: torch.dtype,
        kinds: tuple[Kind, Kind],
        examples: Arrays | None = None,
    ) -> None:
        self._task, self._layout, self._replicas = task, layout, replicas
        self.memory = torch.zeros(replicas, layout.stride, dtype=dtype)
        self.parameters = layout.tensors(self.memory)
        self.x, self.y = (torch.zeros(replicas, *shape, dtype=kind) for shape, kind in kinds)
        self._of_x, self._of_y = self.x.flatten(0, 1).numpy(), self.y.flatten(0, 1).numpy()
        chosen = torch.zeros(replicas, self.y.shape[1], dtype=torch.int64)
        self._chosen = chosen.numpy()
        pairs = ((examples.x, self.x), (examples.y, self.y)) if examples is not None else ()
        gathering = [chosen_line(source.contiguous(), chosen, here, dtype) for source, here in pairs]
        graph = step_graph(task, layout, replicas, dtype, *kinds)
        self._step = Plan(graph, [self.x, self.y, *self.parameters], before=gathering)
        self.losses, *gradients = self._step.outputs
        self.gradients = [gradient.contiguous() for gradient in gradients]
        self._scattered = [
            (ours, theirs) for ours, theirs in zip(self.gradients, gradients, strict=True) if ours is not theirs
        ]
        self._judging: dict[tuple[bool, tuple[Kind, Kind]], tuple[torch.Tensor, torch.Tensor, Plan]] = {}

    def put(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """The batches of the coming step, one replica's examples after the other's."""
        # By NumPy: for a few kilobytes torch takes four times as long.
        self._of_x[:] = x.numpy()
        self._of_y[:] = y.numpy()

    def choose(self, chosen: np.ndarray) -> None:
        """Have `compute` take those of the examples that are at these places: (replicas, batch) int64."""
        self._chosen[:] = chosen

    def compute(self) -> None:
        """Losses and gradients of the batches at the parameters."""
        self._step.run()
        for ours, theirs in self._scattered:
            ours.copy_(theirs)

    def evaluate(self, batches: Sequence[Batch], *, test: bool = False) -> list[Evaluation]:
        """What these batches of a split say of each replica; the test split's with all shares that are asked for."""
        names = list(asked(self._task.recipe, test))
        totals, labels = np.zeros((1 + len(names), self._replicas)), 0
        for x, y, _ in batches:
            loss, *counts = self._judge(x, y, test)
            totals += [loss * y.numel(), *counts]
            labels += y.numel()
        return [
            judged(loss / labels, dict(zip(names, counts, strict=True)), labels) for loss, *counts in totals.T.tolist()
        ]

    def _judge(self, x: torch.Tensor, y: torch.Tensor, test: bool) -> list[np.ndarray]:
        """Mean loss and counts of each replica in a batch that all of them share."""
        kinds = (x.shape, x.dtype), (y.shape, y.dtype)
        if (test, kinds) not in self._judging:
            graph = judging_graph(self._task, test, self._layout, self._replicas, self.memory.dtype, *kinds)
            places = torch.zeros_like(x), torch.zeros_like(y)
            self._judging[test, kinds] = (*places, Plan(graph, [*places, *self.parameters]))
        of_x, of_y, plan = self._judging[test, kinds]
        of_x.copy_(x)
        of_y.copy_(y)
        plan.run()
        return [found.numpy().astype(np.float64) for found in plan.outputs]
