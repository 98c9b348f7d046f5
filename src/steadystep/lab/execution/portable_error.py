"""An error in the form in which a worker can send it to its parent."""

import pickle
import traceback
from typing import Any

from steadystep.lab.errors import UserError


def check_portable(job: Any) -> None:
    """Check that the work can be sent to other processes.

    Raises:
        UserError: if the task has functions that another process cannot import, such as lambdas.
    """
    try:
        pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UserError(
            f"the task cannot be sent to worker processes ({error}): define its functions at the top level of a "
            "module, or use workers=1"
        ) from error


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
