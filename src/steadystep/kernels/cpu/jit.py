"""Compile kernels from generated source and from rules, and cache them on disk."""

import hashlib
import inspect
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

import numpy as np
from numba import njit
from numba.core.dispatcher import Dispatcher
from numba.np.numpy_support import carray

from steadystep.disk_cache import compile_and_keep
from steadystep.kernels.cpu import intrinsics

_log = logging.getLogger(__name__)

SAY_AFTER_SECONDS = 1.0
"""Compilations that take longer than this are announced in the log."""


def bind_rule(function: Callable[..., Any]) -> Any:
    """Compile a rule's function for single numbers, with the intrinsics in place of `tracing.ops`.

    Keyword arguments become positional ones, in their order.
    """
    code = cast(FunctionType, function).__code__
    code = code.replace(co_argcount=code.co_argcount + code.co_kwonlyargcount, co_kwonlyargcount=0)
    return njit(**intrinsics.STRICT)(FunctionType(code, dict(intrinsics.NAMES), function.__name__))


def compile_kernel(
    name: str,
    source: str,
    names: Mapping[str, Any],
    rule: Callable[..., Any] | None,
    signature: Any,
    *,
    modules: Sequence[ModuleType] = (),
    **options: Any,
) -> Callable[..., Any]:
    """Compile the function ``kernel`` that `source` defines, or load it from the disk cache.

    Numba looks only at this file to decide whether a cached kernel is stale. The kernel is therefore cached under a
    name that contains a hash of everything it is made of.

    Args:
        name: what the kernel is for; the first part of its name.
        source: Python source that defines ``kernel``.
        names: global names of `source` besides the intrinsics. A value that is neither a number nor a compiled
            function must be determined by `name`.
        rule: the function that the kernel calls as ``rule``, or None.
        signature: Numba's signature of the kernel.
        modules: modules whose intrinsics `source` uses; their source text becomes part of the hash.
        options: sets of flags for Numba, or False.
    """
    constants = sorted((key, str(value)) for key, value in names.items() if isinstance(value, int | float | type))
    constants += sorted((key, _identity(value)) for key, value in names.items() if isinstance(value, Dispatcher))
    flags = {key: sorted(value or ()) for key, value in options.items()}
    sources = [inspect.getsource(module) for module in (intrinsics, sys.modules[__name__], *modules)]
    content = [name, source, repr(constants), repr(flags), *sources]
    if rule is not None:
        content.append(_code_identity(cast(FunctionType, rule).__code__))
    digest = hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]
    namespace: dict[str, Any] = {**vars(intrinsics), **_BUILT_IN, **names, "__name__": __name__}
    if rule is not None:
        namespace["rule"] = bind_rule(rule)
    exec(compile(source, __file__, "exec"), namespace)
    function = namespace["kernel"]
    function.__name__ = function.__qualname__ = f"{name}_{digest}"
    return compile_and_keep(function, signature, partial(_announce, name), nogil=True, error_model="numpy", **options)


_BUILT_IN = {"carray": carray, "float64": np.float64, "inf": np.inf, "sqrt": np.sqrt}


def _identity(function: Any) -> str:
    """Return the name and the code of a compiled function; a kernel's name contains a hash of all its parts."""
    return f"{function.__name__} {_code_identity(function.py_func.__code__)}"


def _code_identity(code: CodeType) -> str:
    return repr((code.co_code.hex(), code.co_consts, code.co_names, code.co_varnames))


@contextmanager
def _announce(name: str, where: str) -> Iterator[None]:
    """Log the name and the duration of a compilation that takes long."""
    started = time.monotonic()
    message = "compiling the CPU kernel %s for this processor, which takes some seconds; %s"
    timer = threading.Timer(SAY_AFTER_SECONDS, _log.warning, (message, name, where))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    _log.info("the CPU kernel %s was ready after %.2f s", name, time.monotonic() - started)
