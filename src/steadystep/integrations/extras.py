"""What is said if the package that an adapter adapts to is not installed."""


def needs(adapter: str, package: str, extra: str) -> ImportError:
    """Return the error of an adapter whose package is missing.

    >>> needs("lightning", "Lightning", "lightning")
    ImportError("steadystep.integrations.lightning needs Lightning: pip install 'steadystep[lightning]'")
    """
    return ImportError(f"steadystep.integrations.{adapter} needs {package}: pip install 'steadystep[{extra}]'")
