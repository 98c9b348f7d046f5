"""A study that torchrun runs: `torchrun --nproc-per-node N tests/torchrun_study.py FOLDER TASK [KILL]`.

Each process writes the records as it got them to FOLDER/RANK.json. On the first start, the process of the last rank
kills itself when trial number KILL is in the middle.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from steadystep.lab.execution.observer import Silent
from steadystep.lab.execution.run_study import run_study
from steadystep.lab.system.torchrun import place, restarts
from steadystep.lab.training.trial import Trial
from tiny_study import CALM_TASK, STUDY, TASK, numbers


class Killer(Silent):
    """An observer that ends its process in the middle of a trial, as the kernel does when memory is short."""

    def __init__(self, number: int) -> None:
        self._left = number

    def trial_started(self, trial: Trial) -> None:
        """Count."""
        self._left -= 1

    def trial_progress(self, trial: Trial, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """End this process."""
        if self._left <= 0 and epoch < epochs:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, task: str, kill: int | None = None) -> None:
    """Run the study in one of the processes."""
    here = place()
    assert here is not None
    doomed = kill is not None and here.rank == here.size - 1 and restarts() == 0
    results = run_study(
        STUDY,
        {"noisy": TASK, "calm": CALM_TASK}[task],
        None,
        folder,
        observer=Killer(kill) if doomed and kill is not None else Silent(),
        checkpoint_seconds=0.0 if task == "noisy" else 5.0,
    )
    records = [record for group in (results.tuning, results.final) for cell in group.values() for record in cell]
    content = {record.trial.id: numbers(record) for record in records}
    (folder / f"{here.rank}.json").write_text(json.dumps({"restarts": restarts(), "records": content}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
