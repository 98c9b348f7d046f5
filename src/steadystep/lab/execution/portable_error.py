"""An error in the form in which a worker can send it to its parent."""

import pickle
import traceback

from steadystep.lab.errors import UserError


def portable(error: BaseException) -> BaseException:
    """Return the error, or one with the same text if it cannot be sent; a user's error needs no traceback."""
    if isinstance(error, UserError):
        return error
    note = "In a worker process:\n" + "".join(traceback.format_exception(error)).rstrip()
    try:
        if not isinstance(error, Exception):
            raise TypeError("SystemExit, for example, would end the parent without a word")
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an error may have any constructor
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(note)
    return error
