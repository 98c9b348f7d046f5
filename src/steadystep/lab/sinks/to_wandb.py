"""Write trials as runs of Weights & Biases, whose identities are those of the trials."""

import shutil
from pathlib import Path

from steadystep.integrations.track.wandb_sink import default_mode, import_wandb
from steadystep.lab.sinks.finished_run import FinishedRun

COMPLETE = "steadystep-complete"
"""A file in the local folder of a run that has been written to its end."""


class ToWandb:
    """Writes to a project, offline if there is no API key."""

    instead = "run `wandb login`, or set WANDB_MODE=offline"

    def __init__(self, spec: str, project: str) -> None:
        self._wandb = import_wandb()
        self.spec = spec
        self.errors = (OSError, self._wandb.errors.Error)
        entity, _, self._project = project.rpartition("/")
        self._entity = entity or None
        self._mode: str | None = None
        self._folder = Path(self._wandb.setup().settings.wandb_dir)

    def written(self) -> set[str]:
        """Return the identities of the complete runs in the local folder, which online runs have too."""
        self._mode = default_mode()
        marks = (path.read_text(encoding="utf-8") for path in self._folder.glob(f"*run-*/{COMPLETE}"))
        return {identity for identity, _, place in (mark.partition(" ") for mark in marks) if place == self._place}

    def write(self, run: FinishedRun) -> None:
        """Write a run in one go; the server continues one that it has in part."""
        for folder in self._folder.glob(f"*run-*-{run.identity}"):
            if not (folder / COMPLETE).exists():
                shutil.rmtree(folder)
        opened = self._wandb.init(
            project=self._project,
            entity=self._entity,
            id=run.identity,
            name=run.name,
            group=run.task,
            job_type=run.arm,
            tags=run.tags,
            config=dict(run.settings),
            mode=self._mode,
            reinit="create_new",
            resume=None if self._mode == "offline" else "allow",
            settings=self._wandb.Settings(silent=True, console="off"),
        )
        with opened:
            for epoch, row in run.curves.items():
                opened.log(row, step=epoch)
            opened.summary.update(run.final)
        Path(opened.settings.sync_dir, COMPLETE).write_text(f"{run.identity} {self._place}", encoding="utf-8")

    @property
    def _place(self) -> str:
        return f"{self._entity or ''}/{self._project}"
