"""What a user can mend: said in one line that tells what was given, what is accepted and what to do."""


class UserError(Exception):
    """The base of every error that the command line reports without a traceback, with exit code 2."""
