"""Errors that the user can fix. The message is one line with the given value, the accepted values and what to do."""


class UserError(Exception):
    """The base class of all errors that the command line reports without a traceback, with exit code 2."""
