"""The error of a box that cannot be read."""


class BrokenBoxError(ValueError):
    """A folder holds no box, or one that is incomplete, changed or not written by this package; one line says which."""
