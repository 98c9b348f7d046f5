"""A worker's connection to its parent, which tells the end of the parent from any other error."""

from multiprocessing.connection import Connection
from typing import Any


class ParentGoneError(Exception):
    """The parent process has closed its end of the connection, or has ended."""


class Channel:
    """The connection that batches come in by and events go out by."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection

    def send(self, message: Any) -> None:
        """Send a message.

        Raises:
            ParentGoneError: if nobody will receive it.
        """
        try:
            self._connection.send(message)
        except OSError as error:
            raise ParentGoneError from error

    def receive(self) -> Any:
        """Wait for the next message and return it.

        Raises:
            ParentGoneError: if there will be none.
        """
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise ParentGoneError from error
