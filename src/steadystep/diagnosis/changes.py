"""What a replay does differently from the run: one thing at a time."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from steadystep.diagnosis.run import Run
from steadystep.recorder.state import State, put_back_optimizer

SKIP = object()
"""Stands for a batch that is left out."""


def _as_it_is(index: int, batch: Any) -> Any:
    return batch


def _nothing(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
    pass


def _as_before(run: Run) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class Change:
    """One thing done differently.

    Attributes:
        label: what is done, as it is said in a table.
        batch: returns the batch of a step, or `SKIP`.
        before: what is done before the user's step.
        gradients: what is done when an optimizer begins its step, with the gradients that it was given.
        after: what is done when it has ended it.
        around: what holds during the whole replay, and while its losses are compared.
        begin: what is done once, before the first step.
        convert: the form that a batch is given, such as another type.
    """

    label: str
    batch: Callable[[int, Any], Any] = _as_it_is
    before: Callable[[Run, int], None] = lambda run, index: None
    gradients: Callable[[Run, torch.optim.Optimizer, int], None] = _nothing
    after: Callable[[Run, torch.optim.Optimizer, int], None] = _nothing
    around: Callable[[Run], AbstractContextManager[Any]] = _as_before
    begin: Callable[[Run], None] = lambda run: None
    convert: Callable[[Any], Any] = lambda batch: batch


def learning_rate(factor: float | Callable[[int], float], label: str | None = None) -> Change:
    """Multiply the learning rate, whatever a scheduler says, by a number or by one that depends on the step."""
    at = factor if callable(factor) else lambda index: factor
    given: dict[int, Any] = {}

    def scale(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        for number, group in enumerate(optimizer.param_groups):
            given[number] = group["lr"]
            group["lr"] = group["lr"] * at(index)

    def undo(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = given[number]

    return Change(label or f"learning rate x {factor:g}", gradients=scale, after=undo)


def clipped(max_norm: float) -> Change:
    """Clip the gradients to a global norm, also in a step that clips by itself."""

    def clip(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        torch.nn.utils.clip_grad_norm_(
            [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None], max_norm
        )

    return Change(f"gradients clipped to norm {max_norm:.3g}", gradients=clip)


def divided(by: float) -> Change:
    """Divide the gradients that the optimizer is given."""

    def divide(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad = parameter.grad / by

    return Change(f"gradients divided by {by:g}", gradients=divide)


def without(indices: Callable[[int], bool], label: str) -> Change:
    """Leave some batches out."""
    return Change(label, batch=lambda index, batch: SKIP if indices(index) else batch)


def with_batches(replacement: Callable[[int, Any], Any], label: str) -> Change:
    """Take other batches."""
    return Change(label, batch=replacement)


def option(name: str, value: Any) -> Change:
    """Set an option of the optimizer for all groups."""

    def set_it(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        for group in optimizer.param_groups:
            if name in group:
                group[name] = value

    return Change(f"{name}={value:g}", gradients=set_it)


def zeroed() -> Change:
    """Set the gradients to zero before each step of the user's."""

    def zero(run: Run, index: int) -> None:
        run.optimizer.zero_grad()

    return Change("zero_grad() before each step", before=zero)


def state_at(step: int, state: State, label: str) -> Change:
    """Give the optimizer another state when it begins a step, after whatever the user has done to it."""

    def give(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        if index == step:
            options = [{name: group[name] for name in group if name != "params"} for group in optimizer.param_groups]
            put_back_optimizer(state, optimizer)
            for group, kept in zip(optimizer.param_groups, options, strict=True):
                group.update(kept)

    return Change(label, gradients=give)


def reset(names: list[str]) -> Change:
    """Initialise modules as they do themselves, before a replay begins."""

    def begin(run: Run) -> None:
        modules = dict(run.model.named_modules())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for name in names:
                modules[name].reset_parameters()  # type: ignore[operator]

    return Change("initialised anew", begin=begin)


@contextmanager
def entered(run: Run, changes: tuple[Change, ...]) -> Iterator[None]:
    """Hold what each change does around a whole replay."""
    if not changes:
        yield
        return
    with changes[0].around(run), entered(run, changes[1:]):
        yield
