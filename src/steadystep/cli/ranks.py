"""Run a command in several processes that train each trial together, as torchrun does."""

import signal
import sys
import uuid
from collections.abc import Callable, Sequence

from steadystep.lab.system.torchrun import place

RESTARTS = 3
"""How often all processes are started again because one of them was killed."""

RENDEZVOUS_SECONDS = 600

STOPPED = 130
"""The exit code after Ctrl-C."""

LOST = 75
"""The exit code of a process that lost another one, as of programs that may succeed when they are run again."""

Run = Callable[[], tuple[int, str]]
"""A function that runs the command of `sys.argv` and returns its exit code and what to tell the user."""


class RanksNeeded(Exception):
    """The command is to run in several processes."""

    def __init__(self, ranks: int) -> None:
        super().__init__(ranks)
        self.ranks = ranks


def require_ranks(ranks: int | None, executor: str) -> None:
    """Check that this is one of so many processes that train each trial together; None asks for no certain number.

    Raises:
        RanksNeeded: if they have to be started first.
        UserError: if torchrun has started another number of processes, or trials are to run on a cluster.
    """
    from steadystep.lab.errors import UserError

    here = place()
    if executor == "ray" and (here or (ranks or 1) > 1):
        raise UserError("--executor ray runs whole trials on a cluster: leave it out, or --ranks and torchrun")
    if here and ranks not in (None, here.size):
        raise UserError(f"torchrun started {here.size} processes, and --ranks {ranks} asks for others: leave it out")
    if here is None and ranks is not None and ranks > 1:
        raise RanksNeeded(ranks)


def launch(ranks: int, run: Run) -> tuple[int, str]:
    """Run the command in so many processes of this machine, and return its exit code and what to tell the user.

    If one of them is killed, all are started again, and go on from the last checkpoint.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _silence()
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        rdzv_configs={"timeout": RENDEZVOUS_SECONDS},
        max_restarts=RESTARTS,
        monitor_interval=0.2,
        start_method="spawn",
    )
    try:
        outcomes = elastic_launch(config, _run_rank)(run, sys.argv)
    except SignalException as stopped:
        return 128 + int(stopped.sigval), ""
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        why = failure.message.splitlines()[0]
        return 1, (
            f"process {rank} of {ranks} was ended ({why}), also after {RESTARTS} restarts: finished trials are stored, "
            "and the same command resumes; try fewer --ranks"
        )
    ends = [end for _, end in sorted(outcomes.items())]
    ends = [end for end in ends if end[0] != LOST] or ends  # what ended one process, not what the others saw of it
    messages = dict.fromkeys(message for _, message in ends if message)
    return max(code for code, _ in ends), "; ".join(messages)


def _run_rank(run: Run, arguments: Sequence[str]) -> tuple[int, str]:
    """Run the command as one of the processes."""
    signal.signal(signal.SIGINT, _interrupt_once)
    sys.argv = [*arguments]
    try:
        code, message = run()
    except KeyboardInterrupt:
        code, message = STOPPED, ""
    if code == STOPPED:
        sys.exit(code)  # the launcher is ending, and would not take a result
    return code, message


def _interrupt_once(*_: object) -> None:
    """Raise a KeyboardInterrupt: the first signal may come from the terminal, and the next one from the launcher."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _silence() -> None:
    """Keep torch's launcher from logging; what the user has to know is printed here."""
    import logging

    for name in [*logging.root.manager.loggerDict]:
        if name.startswith(("torch.distributed.elastic", "torch.distributed.launcher")):
            logging.getLogger(name).setLevel(logging.CRITICAL)
