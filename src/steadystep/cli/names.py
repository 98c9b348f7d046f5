"""Parse lists of names."""


def split_names(text: str | None) -> tuple[str, ...]:
    """Return the names in a comma-separated list.

    >>> split_names("SGD, Adam"), split_names(None)
    (('SGD', 'Adam'), ())
    """
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
