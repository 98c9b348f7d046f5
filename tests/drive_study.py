"""`python -m drive_study digits|endless FOLDER WORKERS` runs a study in a process that a test may kill."""

import sys
from pathlib import Path

from steadystep.lab.system.fork_server import warm_up


def main() -> None:
    """Run or resume the study, and print a line for each trial that starts or ends."""
    name, folder, workers = sys.argv[1:]
    if int(workers) > 1:
        warm_up()
    from steadystep.lab.execution.run_study import run_study
    from tiny_study import PrintingObserver, digits_study, endless_study

    study, task = digits_study() if name == "digits" else endless_study()
    # Checkpoints are written every few steps, so that a kill finds a trial with a checkpoint or one being written.
    run_study(study, task, None, Path(folder), int(workers), PrintingObserver(), checkpoint_seconds=0.01)


if __name__ == "__main__":
    main()
