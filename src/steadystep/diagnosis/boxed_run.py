"""A run that starts from a black box."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from steadystep.diagnosis.errors import RunError
from steadystep.diagnosis.run import Run
from steadystep.recorder.recording import Recording
from steadystep.recorder.state import State, put_back

AFTER = 8


class BoxedRun(Run):
    """The user's run at the oldest snapshot of a box, with the batches of the box.

    Raises:
        RunError: if the box has no snapshot, or one of another model or optimizer.
    """

    def __init__(self, user: Any, recording: Recording) -> None:
        super().__init__(user)
        if not recording.snapshots:
            raise RunError("the box has no snapshot to replay from: run the doctor on the run alone, without the box")
        self.recording, self._snapshot = recording, recording.snapshots[0]
        tensors = [*self.model.named_parameters(), *self.model.named_buffers()]
        given = {name: tuple(tensor.shape) for name, tensor in tensors}
        saved = {name: tuple(tensor.shape) for name, tensor in self._snapshot.state.model.items()}
        other = next((name for name, shape in given.items() if saved.get(name) != shape), None)
        if other is not None:
            raise RunError(
                f"the box is of another model: its {other} has shape {saved.get(other, 'none')}, and the run's "
                f"{given[other]}"
            )
        groups, boxed = len(self.optimizer.param_groups), len(self._snapshot.state.groups)
        if groups != boxed:
            raise RunError(
                f"the box is of another optimizer: that had {boxed} parameter groups, and the run's has {groups}"
            )

    @property
    def first(self) -> int:
        """The step of the snapshot."""
        return self._snapshot.step

    @property
    def length(self) -> int:
        """The steps up to the end of the record."""
        return int(self.recording.steps[-1]) + 1 - self.first if len(self.recording.steps) else AFTER

    def batch(self, index: int) -> Any:
        """Return the batch that the box has of a step, in the classes of the run's own, else the run's own."""
        held = self.recording.batches
        if index not in held:
            return super().batch(index)
        try:
            own = super().batch(index)
        except RunError:
            own = None
        return in_classes_of(own, held[index])

    def begin(self) -> None:
        """Bring the run to the snapshot.

        Raises:
            RunError: if the box has a state that the run's optimizer or another object does not take.
        """
        state, others = self._snapshot.state, self.others()
        names = _counterparts(state, others)
        try:
            put_back(state, self.model, self.optimizer, {names.get(name, name): each for name, each in others.items()})
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"the state in the box does not fit the run: {type(error).__name__}: {error}") from error


def _counterparts(state: State, others: Mapping[str, Any]) -> dict[str, str]:
    """Return the names under which a box stores objects that the run names differently, as a trainer does.

    Objects with the same name belong together. The others are matched by the entries of their state, then by order.
    """
    missing = [name for name in state.others if name not in others]
    found: dict[str, str] = {}
    for name, other in others.items():
        if name in state.others:
            continue
        entries = set(other.state_dict())
        match = next((each for each in missing if set(state.others[each]) == entries), None)
        if match is not None:
            missing.remove(match)
            found[name] = match
    return found


def in_classes_of(own: Any, value: Any) -> Any:
    """Return a value of a box in the classes of a value of the run, where both have the same form.

    A box holds only dicts, lists, tuples and tensors, and never says which class to make.

    >>> from collections import UserDict
    >>> in_classes_of([UserDict(x=1), 2], [{"x": 3}, 4])
    [{'x': 3}, 4]
    >>> type(in_classes_of([UserDict(x=1), 2], [{"x": 3}, 4])[0]).__name__
    'UserDict'
    """
    make: Callable[..., Any] = type(own)
    if isinstance(value, dict):
        fields = own if isinstance(own, Mapping) else {}
        items = {key: in_classes_of(fields.get(key), item) for key, item in value.items()}
        return _made(own, partial(make, items), items) if isinstance(own, Mapping) else items
    if isinstance(value, tuple | list):
        inner = own if isinstance(own, tuple | list) and len(own) == len(value) else [None] * len(value)
        items = [in_classes_of(part, item) for part, item in zip(inner, value, strict=True)]
        names = getattr(value, "_fields", None)
        if names is None:
            return type(value)(items)
        plain: Callable[..., Any] = type(value)
        same = isinstance(own, tuple) and getattr(own, "_fields", None) == names
        return _made(own, partial(make, *items), plain(*items)) if same else plain(*items)
    return value


def _made(own: Any, make: Callable[[], Any], plain: Any) -> Any:
    """Return what a class of the user's makes of the parts, or the plain value if it does not take them."""
    if type(own) is type(plain):
        return plain
    try:
        return make()
    except (TypeError, ValueError, KeyError, AttributeError):
        return plain
