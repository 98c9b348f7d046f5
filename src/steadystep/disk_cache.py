"""Compiled functions on disk: the installation's, which all users read, and the user's own."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import caching

IN_TREE: Any = getattr(caching, "InTreeCacheLocator", None) or caching._InTreeCacheLocator  # pyright: ignore[reportAttributeAccessIssue]
"""The folder ``__pycache__`` beside the module; Numba before 0.62 has another name for it."""


Announce = Callable[[str], AbstractContextManager[object]]
"""A function of where a compiled function is kept that returns a context for its compilation."""


def _silently(where: str) -> AbstractContextManager[object]:
    return nullcontext()


def compile_and_keep(
    function: Callable[..., Any], signature: Any, announce: Announce = _silently, **options: Any
) -> Callable[..., Any]:
    """Compile a function for a signature, or load it from disk; `options` are Numba's."""
    compiled: Any = njit(**options)(function)
    cache = _cache_of(function)
    if cache is not None:
        compiled._cache = cache
    with announce(f"it is kept in {cache.cache_path}" if cache else "there is no folder to keep it in"):
        compiled.compile(signature)
    compiled.disable_compile()
    return compiled


class _Cache(caching.FunctionCache):
    """A function's cache, in the first folder that Numba can write to, and in that of the installation.

    Numba reads only where it can write. What the owner of the installation has compiled would therefore be compiled
    again by every other user. It is as trustworthy as the package's code, which lies beside it.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._installed = _installed(function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function, or None if there is none."""
        found = super().load_overload(sig, target_context)
        if found is None and self._installed is not None:
            found = self._installed.load_overload(sig, target_context)
        return found


def _cache_of(function: Callable[..., Any]) -> caching.FunctionCache | None:
    """Return the cache of a function, or None if there is no folder to read or to write."""
    try:
        return _Cache(function)
    except RuntimeError as error:  # there is no folder that can be written to
        if "cannot cache" not in str(error):
            raise
        return _installed(function)


class _Installed(IN_TREE):
    """The folder of the installation, whether or not this user can write to it."""

    def ensure_cache_path(self) -> None:
        """Check that there is such a folder."""
        if not Path(self.get_cache_path()).is_dir():
            raise FileNotFoundError(self.get_cache_path())


class _InstalledFiles(caching.CompileResultCacheImpl):
    _locator_classes = [_Installed]


class _InstalledCache(caching.FunctionCache):
    """A cache that is only read."""

    _impl_class = _InstalledFiles

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function, or None if there is none that this user can read."""
        try:
            return super().load_overload(sig, target_context)
        except OSError:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Do nothing."""


def _installed(function: Callable[..., Any]) -> _InstalledCache | None:
    try:
        return _InstalledCache(function)
    except RuntimeError:  # no such folder
        return None
