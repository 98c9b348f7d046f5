"""The sink of TensorBoard: a scalar for each metric, in event files. NaN and infinity are written as they are."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from steadystep.integrations.extras import needs
from steadystep.integrations.track.sink import Sink

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


def writer_class() -> "type[SummaryWriter]":
    """Return torch's writer of event files.

    Raises:
        ImportError: if tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise needs("track.tensorboard", "tensorboard", "track") from error
    return SummaryWriter


def open_sink(target: str | PathLike[str] | Any, prefix: str, per_tensor: bool) -> "TensorBoardSink":
    """Return the sink of a folder, or that of an open writer."""
    if isinstance(target, str | PathLike):
        return TensorBoardSink(writer_class()(fspath(target)), True, prefix, per_tensor)
    if not hasattr(target, "add_scalar"):
        raise TypeError(f"tensorboard takes a folder or a SummaryWriter, and got {target!r}")
    return TensorBoardSink(target, False, prefix, per_tensor)


class TensorBoardSink(Sink):
    """Writes scalars by a SummaryWriter."""

    def __init__(self, writer: "SummaryWriter", owned: bool, prefix: str, per_tensor: bool) -> None:
        super().__init__(owned, prefix, per_tensor)
        self.writer = writer

    def _write(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def _close(self, failed: bool) -> None:
        self.writer.flush()
        if self._owned:
            self.writer.close()
