"""What a user's run lacks."""


class RunError(ValueError):
    """A run that the doctor cannot use; the message says what is missing, in one line."""
