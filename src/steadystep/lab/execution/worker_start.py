"""The start of a worker process. It imports nothing heavy, so that a worker which cannot import that can say so."""

import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing import connection, parent_process
from typing import Any

from steadystep.lab.execution.channel import Channel, ParentGoneError
from steadystep.lab.execution.portable_error import portable
from steadystep.lab.system.fork_server import PRELOAD


def serve(work: Any, control: Any) -> None:
    """Run the batches that the parent sends, until it sends None. Any error is sent to the parent.

    Args:
        work: the connection to the parent: the job and the batches come in, events go out.
        control: the connection on which the parent says that running batches are to stop.
    """
    channel = Channel(work)
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and says so through `control`
        stop = threading.Event()
        threading.Thread(target=_watch_parent, args=(control, stop), daemon=True).start()
        preloaded = sys.modules.get(PRELOAD)
        if preloaded and preloaded.failure:
            raise preloaded.failure
        from steadystep.lab.execution.worker import run_batches

        run_batches(channel, stop.is_set)
    except ParentGoneError:
        pass
    except BaseException as error:  # noqa: BLE001 - the parent decides what to do about it
        with suppress(ParentGoneError):
            channel.send(("failed", (portable(error),)))


def _watch_parent(control: Any, stop: threading.Event) -> None:
    """Set `stop` when the parent says so, and end this process when the parent is gone."""
    parent = parent_process()
    assert parent, "a worker has a parent"
    while True:
        ready = connection.wait([parent.sentinel] if stop.is_set() else [parent.sentinel, control])
        if parent.sentinel in ready:
            # Exit immediately: no clean-up is needed, because every file on disk is complete.
            os._exit(1)
        stop.set()
