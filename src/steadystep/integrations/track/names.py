"""Names of metrics that MLflow takes. Parameters of a torch module may have names with any characters but a dot."""

import hashlib
import posixpath
import re

LONGEST = 250
"""Characters of a name at most."""

_FORBIDDEN = re.compile(r"[^/\w.\- ]")
_MARK = re.compile(r"-[0-9a-f]{12}$")


def accepted_name(name: str) -> str:
    """Return a name of a metric as MLflow takes it; no two metrics share one.

    MLflow takes letters, digits, spaces and ``_-./``, in what is a path without empty, ``.`` or ``..`` parts. A name
    with anything else gets a dash for it, and the beginning of its SHA-256 at the end, by which it differs from others.

    >>> accepted_name("norm/layers.0.weight")
    'norm/layers.0.weight'
    >>> accepted_name("norm/a+b"), accepted_name("norm/a*b")
    ('norm/a-b-20b65724ad45', 'norm/a-b-70e700ce0edf')
    """
    # A name that already ends like a changed one is changed too, so that it cannot be taken for another name's.
    if _is_accepted(name) and not _MARK.search(name):
        return name
    parts = [part for part in _FORBIDDEN.sub("-", name).split("/") if part not in ("", ".", "..")]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{'/'.join(parts).lstrip('.')[: LONGEST - 13]}-{digest}".removeprefix("/")


def _is_accepted(name: str) -> bool:
    normal = posixpath.normpath(name)
    return (
        normal == name != "."
        and not normal.startswith(("..", "/"))
        and not _FORBIDDEN.search(name)
        and len(name) <= LONGEST
    )
