"""A cache on disk for arrays that are slow to compute, in the user's cache folder."""

import hashlib
import io
import logging
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from steadystep.lab.system.atomic import StoreError, write_atomic

_log = logging.getLogger(__name__)


def cached_arrays(name: str, key: str, make: Callable[[], Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    """Return the arrays that `make` returns, from the cache if they were made before with the same key.

    The key is any text that changes whenever the result may change. A damaged cache file is replaced. If the cache
    cannot be written, the arrays are returned all the same. Nothing is ever unpickled.
    """
    path = cache_folder() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    arrays = _read(path)
    if arrays is None:
        _log.info("making the arrays of %s, once", name)
        arrays = make()
        _write(path, arrays)
    return arrays


def cache_folder() -> Path:
    """Return the folder named by STEADYSTEP_CACHE, or else this user's cache folder on this platform."""
    if os.environ.get("STEADYSTEP_CACHE"):
        return Path(os.environ["STEADYSTEP_CACHE"])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "steadystep"


def _read(path: Path) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        _log.warning("the cached arrays in %s are damaged: making them again", path)
        return None


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content.getvalue())
    except (OSError, StoreError) as error:
        _log.warning("the arrays were not cached: %s", error)
