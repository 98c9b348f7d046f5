"""Errors that the user can fix. The message is one line with the given value, the accepted values and what to do."""


class UserError(Exception):
    """The base class of all errors that the command line reports without a traceback, with exit code 2."""

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython and notebooks show for this error: the message alone."""
        return [f"{type(self).__name__}: {self}"]


class LostRankError(UserError):
    """Another process of the same trial has ended."""
