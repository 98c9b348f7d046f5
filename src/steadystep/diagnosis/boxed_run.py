"""A run that starts from a black box."""

from typing import Any

from steadystep.diagnosis.errors import RunError
from steadystep.diagnosis.run import Run
from steadystep.recorder.recording import Recording
from steadystep.recorder.state import put_back

AFTER = 8


class BoxedRun(Run):
    """The user's run at the oldest snapshot of a box, with the batches of the box.

    Raises:
        RunError: if the box has no snapshot, or one of another model.
    """

    def __init__(self, user: Any, recording: Recording) -> None:
        super().__init__(user)
        if not recording.snapshots:
            raise RunError("the box has no snapshot to replay from: run the doctor on the run alone, without the box")
        self.recording, self._snapshot = recording, recording.snapshots[0]
        given = {name: tuple(parameter.shape) for name, parameter in self.parameters()}
        saved = {name: tuple(tensor.shape) for name, tensor in self._snapshot.state.model.items()}
        other = next((name for name, shape in given.items() if saved.get(name) != shape), None)
        if other is not None:
            raise RunError(
                f"the box is of another model: its {other} has shape {saved.get(other, 'none')}, and the run's "
                f"{given[other]}"
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
        """Return the batch that the box has of a step, else the run's own."""
        held = self.recording.batches
        return held[index] if index in held else super().batch(index)

    def begin(self) -> None:
        """Bring the run to the snapshot."""
        put_back(self._snapshot.state, self.model, self.optimizer, self.others())
