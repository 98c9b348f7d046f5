"""A worker process as its parent sees it: it is started, gets batches, sends events, and ends."""

import signal
from contextlib import suppress
from multiprocessing import connection
from typing import Any

from steadystep.lab.errors import UserError
from steadystep.lab.execution.worker import Job, PendingBatch
from steadystep.lab.execution.worker_start import serve
from steadystep.lab.system.fork_server import UNGUARDED
from steadystep.lab.system.scarcity import THREADS, ScarcityError, scarce, scarcity_message

SECONDS_TO_EXIT = 30.0
"""How long a worker may take to exit once it has closed its connection; after that it is killed."""


class WorkerDiedError(UserError):
    """A worker process ended before its work was done, usually because the machine ran out of memory."""


class UnguardedScriptError(UserError):
    """A script calls the lab with several workers outside of ``if __name__ == "__main__":``."""


class WorkerProcess:
    """One worker process.

    Args:
        context: the multiprocessing context, see `worker_context`.
        job: what all batches have in common.

    Raises:
        ScarcityError: if the process cannot be started.
    """

    def __init__(self, context: Any, job: Job) -> None:
        self.busy = False  # whether it has a batch
        self.ready = False  # whether it has started
        self.connection, work = context.Pipe()
        control, self._control = context.Pipe(duplex=False)
        self._process = context.Process(target=serve, args=(work, control))
        try:
            self._process.start()
        except (EOFError, OSError, RuntimeError) as error:
            # The fork server, too, has ended if it could not fork: EOFError or ConnectionError.
            self._close()
            raise ScarcityError(f"a worker cannot be started: {scarcity_message(scarce(error) or THREADS)}") from error
        finally:
            work.close()
            control.close()
        self._send(job)

    def give(self, batch: PendingBatch) -> None:
        """Send it a batch to run."""
        self.busy = True
        self._send(batch)

    def receive(self) -> tuple[str, tuple[Any, ...]] | None:
        """Return the next event for the observer, or None if the message was for this object.

        Raises:
            WorkerDiedError: if the process has ended.
            UnguardedScriptError: if the process ended because it ran the script that started it.
            BaseException: the error that the batch failed with.
        """
        try:
            name, arguments = self.connection.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if name == "failed":
            raise arguments[0]
        if name == "ready":
            self.ready = True
        elif name == "done":
            self.busy = False
        else:
            return name, arguments
        return None

    def stop(self) -> None:
        """Make it write the checkpoint of its batch and exit."""
        with suppress(OSError):
            self._control.send(None)
        self.finish()

    def finish(self) -> None:
        """Make it exit after its batch."""
        self._send(None)

    def wait(self) -> None:
        """Wait until it has exited. Its remaining events are read and dropped, so that it is not blocked by them."""
        with suppress(EOFError, OSError):
            while True:
                self.connection.recv_bytes()
        self._process.join(SECONDS_TO_EXIT)
        self.kill()

    def kill(self) -> None:
        """End it now, if it has not ended yet."""
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._close()

    def _send(self, message: Any) -> None:
        with suppress(OSError):  # if it has died, `receive` says so
            self.connection.send(message)

    def _close(self) -> None:
        self.connection.close()
        self._control.close()

    def _death(self) -> UserError:
        """Return the error that says how the process ended."""
        self._process.join(SECONDS_TO_EXIT)
        code = self._process.exitcode
        if not self.ready and code == UNGUARDED:
            return UnguardedScriptError(
                "this script starts worker processes, and each of them runs the script again: put what the script does "
                'under `if __name__ == "__main__":`, or use workers=1'
            )
        when = "was killed" if self.ready else "ended while it started"
        again = "finished trials are stored: run the same command again with fewer --workers"
        if code is not None and code > 0 and not self.ready:
            return WorkerDiedError(f"a worker process {when} (exit code {code}), and has printed why; {again}")
        return WorkerDiedError(
            f"a worker process {when}{_signal_name(code)}, usually because the machine ran out of memory; {again}"
        )


def wait_for_events(workers: list[WorkerProcess], seconds: float) -> list[WorkerProcess]:
    """Return the workers that have sent something or have ended, after at most this many seconds."""
    ready = connection.wait([worker.connection for worker in workers], seconds)
    return [worker for worker in workers if worker.connection in ready]


def _signal_name(code: int | None) -> str:
    if code is None or code >= 0:
        return ""
    with suppress(ValueError):
        return f" ({signal.Signals(-code).name})"
    return f" (signal {-code})"
