"""Kernels from source and rules: bound to the primitives, compiled once, kept on disk."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, cast

import numpy as np
from numba import njit
from numba.core.dispatcher import Dispatcher
from numba.np.numpy_support import carray

from steadystep.kernels.cpu import primitives

_log = logging.getLogger(__name__)

SAY_AFTER_SECONDS = 1.0
"""A first use that takes longer than this says what it waits for."""


def bound(function: Callable[..., Any]) -> Any:
    """A rule's function over single numbers, for kernels to call: the same code, other names behind it.

    Its keyword arguments become positional ones, in their order.
    """
    code = cast(FunctionType, function).__code__
    code = code.replace(co_argcount=code.co_argcount + code.co_kwonlyargcount, co_kwonlyargcount=0)
    return njit(**primitives.STRICT)(FunctionType(code, dict(primitives.NAMES), function.__name__))


def compiled(
    name: str, source: str, names: Mapping[str, Any], rule: Callable[..., Any] | None, signature: Any, **options: Any
) -> Callable[..., Any]:
    """The kernel `name` that `source` defines, with `names` and the primitives behind its names.

    `rule` is the function that the kernel calls by the name ``rule``; `options` are sets of flags for Numba, or False.
    The compiled code is kept on disk, under a name that changes with everything that it is made of: Numba itself looks
    only at this file. What is in `names` and neither a number nor compiled has to follow from `name`.
    """
    constants = sorted((key, str(value)) for key, value in names.items() if isinstance(value, int | float | type))
    constants += sorted((key, _identity(value)) for key, value in names.items() if isinstance(value, Dispatcher))
    flags = {key: sorted(value or ()) for key, value in options.items()}
    content = [name, source, repr(constants), repr(flags), *_PRIMITIVES]
    if rule is not None:
        content.append(_described(cast(FunctionType, rule).__code__))
    digest = hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]
    namespace: dict[str, Any] = {**vars(primitives), **_BUILT_IN, **names, "__name__": __name__}
    if rule is not None:
        namespace["rule"] = bound(rule)
    exec(compile(source, __file__, "exec"), namespace)
    function = namespace["kernel"]
    function.__name__ = function.__qualname__ = f"{name}_{digest}"
    with _announced(name):
        try:
            return njit(signature, cache=True, nogil=True, error_model="numpy", **options)(function)
        except RuntimeError as error:  # no folder that can be written to
            if "cannot cache" not in str(error):
                raise
            return njit(signature, nogil=True, error_model="numpy", **options)(function)


_BUILT_IN = {"carray": carray, "float64": np.float64, "inf": np.inf, "sqrt": np.sqrt}


def _identity(function: Any) -> str:
    """Of something compiled: its name, which for a kernel changes with everything that it is made of, and its code."""
    return f"{function.__name__} {_described(function.py_func.__code__)}"


def _described(code: CodeType) -> str:
    return repr((code.co_code.hex(), code.co_consts, code.co_names, code.co_varnames))


_PRIMITIVES = [
    Path(__file__).with_name(f"{name}.py").read_text() for name in ("primitives", "exponentials", "blas", "compiling")
]


@contextmanager
def _announced(name: str) -> Iterator[None]:
    """Say what is compiled, and how long it took, if it is worth a word."""
    started = time.monotonic()
    timer = threading.Timer(SAY_AFTER_SECONDS, _log.warning, ("compiling the CPU kernel %s, once for all", name))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    _log.info("the CPU kernel %s was ready after %.2f s", name, time.monotonic() - started)
