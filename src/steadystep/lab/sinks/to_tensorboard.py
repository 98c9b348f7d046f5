"""Write trials as event files for TensorBoard: a folder for each trial, with its curves and its row of HPARAMS."""

import re
import shutil
from pathlib import Path

from steadystep.integrations.track.tensorboard_sink import writer_class
from steadystep.lab.sinks.finished_run import FinishedRun

_NOT_IN_FILE_NAMES = re.compile(r"[^\w.,+= -]")


class ToTensorBoard:
    """Writes into `folder`, as TASK/NAME (IDENTITY)."""

    errors = (OSError,)
    instead = "choose another folder"

    def __init__(self, spec: str, folder: Path) -> None:
        self._writer = writer_class()
        self.spec, self._folder = spec, folder

    def written(self) -> set[str]:
        """Return the identities at the ends of the folders' names; create the folder if it does not exist."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return {path.name.removesuffix(")").rpartition(" (")[2] for path in self._folder.glob("*/* (*)")}

    def write(self, run: FinishedRun) -> None:
        """Write the event file, and rename its folder when it is complete."""
        from torch.utils.tensorboard.summary import hparams

        task, name = (_NOT_IN_FILE_NAMES.sub("-", text) for text in (run.task, run.name))
        partial = self._folder / f".{run.identity}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        with self._writer(str(partial)) as writer:
            for part in hparams(dict(run.settings), dict(run.final)):
                writer._get_file_writer().add_summary(part)
            for epoch, row in run.curves.items():
                for metric, value in row.items():
                    writer.add_scalar(metric, value, epoch)
            for metric, value in run.final.items():
                writer.add_scalar(metric, value, len(run.curves))
        whole = self._folder / task / f"{name} ({run.identity})"
        whole.parent.mkdir(exist_ok=True)
        partial.rename(whole)
