"""Which object of torch called, where torch hands it to nobody."""

import sys
from typing import Any


def calling_object(module: str) -> Any:
    """Return the `self` of the nearest caller whose code is in a module, or None if that module is not calling.

    Only the variables of that caller are looked at: Python keeps what it was asked for until the function returns, and
    a training loop would then keep its tensors.
    """
    frame = sys._getframe(1) if module in sys.modules else None
    while frame is not None:
        if frame.f_globals.get("__name__") == module and "self" in frame.f_code.co_varnames:
            return frame.f_locals.get("self")
        frame = frame.f_back
    return None
