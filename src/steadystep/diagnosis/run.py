"""The user's run, as the doctor works with it."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from steadystep.arguments import described
from steadystep.diagnosis.errors import RunError
from steadystep.diagnosis.plain import Plain, Plains, attributes, surroundings
from steadystep.recorder.state import State, put_back, put_back_optimizer, take

SHORTEST = 200
LONGEST = 1_000


class Run:
    """Reads the attributes of a user's run, which may replace them as it goes on.

    Args:
        user: an object with ``model``, ``optimizer``, ``loss(model, batch)``, and ``batches`` or ``batch(index)``; and,
            if it has them, ``step(run, batch)``, ``scaler`` and ``scheduler``.

    Raises:
        RunError: if something is missing or of the wrong type.
    """

    def __init__(self, user: Any) -> None:
        self.user = user
        for name, kind in (("model", nn.Module), ("optimizer", torch.optim.Optimizer)):
            if not isinstance(getattr(user, name, None), kind):
                raise RunError(
                    f"the run needs `{name}`, a {kind.__module__.split('.')[0]} {kind.__name__}; it has "
                    f"{described(getattr(user, name, None))}"
                )
        if not callable(getattr(user, "loss", None)):
            raise RunError("the run needs `loss(model, batch)`, which returns a scalar tensor")
        self._batches = getattr(user, "batches", None)
        if self._batches is None and not callable(getattr(user, "batch", None)):
            raise RunError("the run needs `batches`, a sequence, or `batch(index)`")
        if self._batches is not None and not (_is_sequence(self._batches) and len(self._batches)):
            raise RunError(
                f"`batches` must be a sequence that is not empty, such as list(loader), and is "
                f"{described(self._batches)}"
            )
        functions = (getattr(user, "step", None), user.loss, getattr(user, "batch", None))
        self._plain = Plain(user, functions)
        self._around = surroundings(functions)

    @property
    def model(self) -> nn.Module:
        """The model at present."""
        return self.user.model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer at present."""
        return self.user.optimizer

    @property
    def scaler(self) -> Any:
        """The GradScaler of the run or of its functions, or None."""
        return next((other for other in self.others().values() if callable(getattr(other, "get_scale", None))), None)

    def scales(self) -> list["Scale"]:
        """Return the scales by which the loss may be multiplied: that of a GradScaler, and numbers called a scale."""
        found = [] if self.scaler is None or not self.scaler.is_enabled() else [_of_scaler(self.scaler)]
        return found + [Scale(read, write) for name, read, write in self._plain.numbers() if "scale" in name.lower()]

    @property
    def first(self) -> int:
        """The number of the step that the run takes first."""
        return 0

    @property
    def has_own_step(self) -> bool:
        """Whether the user takes the steps."""
        return callable(getattr(self.user, "step", None))

    @property
    def length(self) -> int:
        """The steps of the run: an epoch, and at least 200."""
        return SHORTEST if self._batches is None else min(max(len(self._batches), SHORTEST), LONGEST)

    def batch(self, index: int) -> Any:
        """Return the batch of a step; a sequence starts over at its end."""
        try:
            if self._batches is None:
                return self.user.batch(index)
            return self._batches[index % len(self._batches)]
        except Exception as error:
            call = "batch({})" if self._batches is None else "batches[{}]"
            raise RunError(
                f"`{call.format(index)}` raises {type(error).__name__}: {error}; each step needs a batch, also those "
                "after the last one of an epoch"
            ) from error

    @property
    def period(self) -> int | None:
        """The number of batches after which they repeat, or None."""
        return None if self._batches is None else len(self._batches)

    def loss(self, batch: Any) -> torch.Tensor:
        """Return the loss of a batch.

        Raises:
            RunError: if it is not a scalar tensor.
        """
        loss = self.user.loss(self.model, batch)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            raise RunError(f"`loss(model, batch)` must return a scalar tensor, and returned {described(loss)}")
        return loss.reshape(())

    def step(self, batch: Any) -> float:
        """Take a step as the user does, and return its loss."""
        if self.has_own_step:
            return self._own_step(batch)
        optimizer, scaler = self.optimizer, getattr(self.user, "scaler", None)
        optimizer.zero_grad()
        loss = self.loss(batch)
        if scaler is None:
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        if (scheduler := getattr(self.user, "scheduler", None)) is not None:
            scheduler.step()
        return float(loss.detach())

    def _own_step(self, batch: Any) -> float:
        step = cast("Callable[..., Any]", self.user.step)
        takes = [
            parameter
            for parameter in inspect.signature(step).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            and parameter.default is parameter.empty
        ]
        value = step(batch) if len(takes) == 1 else step(self.user, batch)
        if isinstance(value, torch.Tensor):
            value = value.detach()
        try:
            return float(value)
        except (TypeError, ValueError):
            raise RunError(
                f"`step(run, batch)` must return the loss as a float, and returned {described(value)}"
            ) from None

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters of the model with their names."""
        return self.model.named_parameters()

    def others(self) -> Mapping[str, Any]:
        """Return what else has a state: a scaler, a scheduler and the like."""
        known = {**self._around, **attributes(self.user)}
        own = {id(module) for module in self.model.modules()} | {id(self.optimizer)}
        return {
            name: _Optimizer(value) if isinstance(value, torch.optim.Optimizer) else value
            for name, value in known.items()
            if id(value) not in own
            and not isinstance(value, type)
            and callable(getattr(value, "state_dict", None))
            and callable(getattr(value, "load_state_dict", None))
            and not (isinstance(value, nn.Module) and self._is_model_again(value))
        }

    def _is_model_again(self, module: nn.Module) -> bool:
        """Whether a module has no state of its own, or is a wrapper of the model."""
        return not module.state_dict() or any(part is self.model for part in module.modules())

    def begin(self) -> None:
        """Bring the run to its start, where it is."""

    def take(self) -> "Moment":
        """Copy the state of the run."""
        gradients = {
            name: parameter.grad.detach().clone()
            for name, parameter in self.parameters()
            if parameter.grad is not None and self.has_own_step
        }
        return Moment(self.optimizer, take(self.model, self.optimizer, self.others()), gradients, self._plain.take())

    def put_back(self, moment: "Moment") -> None:
        """Bring the run back to a moment, in place."""
        self._plain.put_back(moment.plain)
        if self.user.optimizer is not moment.optimizer:
            self.user.optimizer = moment.optimizer
        put_back(moment.state, self.model, moment.optimizer, self.others())
        for name, parameter in self.parameters():
            gradient = moment.gradients.get(name)
            parameter.grad = None if gradient is None else gradient.clone()


class _Optimizer:
    """Saves and restores a further optimizer of a run; its moments keep their types and addresses."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state and the options."""
        return vars(take(nn.Module(), self._optimizer))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give the optimizer its state and options back."""
        put_back_optimizer(State(**state), self._optimizer)


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not isinstance(value, Mapping)


@dataclass(frozen=True)
class Scale:
    """A factor of the loss that can be read and changed."""

    read: Callable[[], float]
    write: Callable[[float], None]


def _of_scaler(scaler: Any) -> Scale:
    def write(value: float) -> None:
        scaler.load_state_dict({**scaler.state_dict(), "scale": value})

    return Scale(lambda: float(scaler.get_scale()), write)


@dataclass(frozen=True)
class Moment:
    """A run's state at a moment.

    Attributes:
        optimizer: the optimizer of then; a step may replace it.
        state: of model, optimizer and the like.
        gradients: those that a step of the user's has left.
        plain: the plain values among attributes and variables.
    """

    optimizer: torch.optim.Optimizer
    state: State
    gradients: dict[str, torch.Tensor]
    plain: Plains
