"""Take steps of a run from a moment on, with or without a change, and measure them."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from steadystep.diagnosis.changes import SKIP, Change, entered
from steadystep.diagnosis.errors import RunError
from steadystep.diagnosis.run import Moment, Run

Hook = Callable[[torch.optim.Optimizer], None]


@dataclass
class Step:
    """What was measured of one step. NaN stands for what did not happen, such as the step of an optimizer."""

    index: int
    loss: float = math.nan
    gradient: float = math.nan
    """The norm of the gradients that the optimizer was given."""
    update: float = math.nan
    """The norm of what the step has changed in the parameters."""
    weight: float = math.nan
    """The norm of the parameters after the step."""
    nonfinite_gradients: tuple[str, ...] = ()
    nonfinite_parameters: tuple[str, ...] = ()
    stepped: bool = False
    """Whether the optimizer's step was called."""
    skipped: bool = False
    """Whether the batch was left out on purpose."""


@dataclass
class Played:
    """The steps of a replay, and the error that ended it, or None."""

    steps: list[Step] = field(default_factory=list)
    error: Exception | None = None
    end: float = math.nan
    """What `measure` returned after the last step; NaN if the replay has failed before."""

    @property
    def is_sound(self) -> bool:
        """Whether everything stayed finite and nothing was raised."""
        return self.error is None and self.broken is None

    @property
    def losses(self) -> list[float]:
        """The losses of the steps that were not left out."""
        return [step.loss for step in self.steps if not step.skipped]

    @property
    def broken(self) -> Step | None:
        """The first step with a loss or a parameter that is not finite, or None."""
        return next(
            (
                step
                for step in self.steps
                if not step.skipped and (not math.isfinite(step.loss) or step.nonfinite_parameters)
            ),
            None,
        )


def play(
    run: Run,
    moment: Moment,
    indices: Iterable[int],
    *changes: Change,
    each: Callable[[Step], bool] | None = None,
    measure: Callable[[tuple[Change, ...]], float] | None = None,
) -> Played:
    """Bring the run to a moment and take steps with the batches of some indices.

    It stops at the first parameter that is not finite, after which nothing is told any more, and at an error.

    Args:
        run: the run, which is left where the replay ends.
        moment: where it starts.
        indices: the numbers of the steps, by which batches are chosen.
        changes: what is done differently.
        each: called after each step; a true value ends the replay.
        measure: called after the last step of a sound replay, while the changes still hold.
    """
    run.put_back(moment)
    played = Played()
    with entered(run, changes):
        for change in changes:
            change.begin(run)
        before = _copies(run)
        for index in indices:
            step = Step(index)
            played.steps.append(step)
            try:
                _take_step(run, step, changes, before)
            except RunError:
                raise
            except Exception as error:  # noqa: BLE001 whatever the user's code raises is the outcome of the replay
                played.error = error
                break
            if (each is not None and each(step)) or step.nonfinite_parameters:
                break
        if measure is not None and played.is_sound:
            played.end = measure(changes)
    return played


def _take_step(run: Run, step: Step, changes: tuple[Change, ...], before: dict[str, torch.Tensor]) -> None:
    batch = run.batch(step.index)
    for change in changes:
        if batch is not SKIP:
            batch = change.batch(step.index, batch)
    if batch is SKIP:
        step.skipped = True
        return
    batch = converted(batch, changes)
    for change in changes:
        change.before(run, step.index)

    def at_gradients(optimizer: torch.optim.Optimizer) -> None:
        for change in changes:
            change.gradients(run, optimizer, step.index)
        _measure_gradients(run, step)

    def after(optimizer: torch.optim.Optimizer) -> None:
        for change in reversed(changes):
            change.after(run, optimizer, step.index)

    with hooked(at_gradients, after):
        step.loss = run.step(batch)
    _measure_update(run, step, before)


def converted(batch: Any, changes: tuple[Change, ...]) -> Any:
    """Return a batch in the form that the changes give it."""
    for change in changes:
        batch = change.convert(batch)
    return batch


@contextmanager
def hooked(before: Hook, after: Hook) -> Iterator[None]:
    """Call functions before and after the step of any optimizer; of one inside another, only for the outer one.

    The hooks are global ones, because a step may replace the optimizer.
    """
    depth = 0

    def enter(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        nonlocal depth
        depth += 1
        if depth == 1:
            before(optimizer)

    def leave(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        nonlocal depth
        depth -= 1
        if depth == 0:
            after(optimizer)

    handles = register_optimizer_step_pre_hook(enter), register_optimizer_step_post_hook(leave)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _measure_gradients(run: Run, step: Step) -> None:
    named = [(name, p.grad) for name, p in run.parameters() if p.grad is not None]
    step.stepped = True
    step.gradient = total_norm([gradient for _, gradient in named])
    if not math.isfinite(step.gradient):
        step.nonfinite_gradients = tuple(
            name for name, gradient in named if not bool(torch.isfinite(_dense(gradient)).all())
        )


@torch.no_grad()
def _measure_update(run: Run, step: Step, before: dict[str, torch.Tensor]) -> None:
    names, now = zip(*((name, parameter.detach()) for name, parameter in run.parameters()), strict=True)
    past = [before[name] for name in names]
    step.update = total_norm(torch._foreach_sub(now, past))  # pyright: ignore[reportPrivateImportUsage]
    step.weight = total_norm(now)
    if not math.isfinite(step.weight):
        step.nonfinite_parameters = tuple(
            name for name, tensor in zip(names, now, strict=True) if not bool(torch.isfinite(tensor).all())
        )
    torch._foreach_copy_(past, now)  # pyright: ignore[reportPrivateImportUsage]


def total_norm(tensors: Sequence[torch.Tensor]) -> float:
    """Return the norm of all elements of some tensors."""
    if any(tensor.is_sparse or tensor.dtype not in (torch.float32, torch.float64) for tensor in tensors):
        return math.sqrt(sum(norm_of(tensor) ** 2 for tensor in tensors))
    norms = torch._foreach_norm(list(tensors)) if tensors else []  # pyright: ignore[reportPrivateImportUsage]
    return math.sqrt(sum(float(norm) ** 2 for norm in norms))


def norm_of(tensor: torch.Tensor) -> float:
    """Return the norm of a tensor, computed in a type that does not overflow at once."""
    dense = _dense(tensor)
    wide = torch.float64 if dense.dtype == torch.float64 else torch.float32
    return float(torch.linalg.vector_norm(dense, dtype=wide)) if dense.numel() else 0.0


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.coalesce().values() if tensor.is_sparse else tensor


def _copies(run: Run) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in run.parameters()}
