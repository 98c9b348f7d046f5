"""Numbers with the noun that they count."""


def count(number: int, noun: str) -> str:
    """Return a number followed by a noun in the singular or plural.

    >>> count(1, "run"), count(1200, "run")
    ('1 run', '1,200 runs')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def measure(number: str, noun: str) -> str:
    """Return a formatted number followed by a noun, in the singular only after exactly "1".

    >>> measure("1", "decade"), measure("1.5", "decade"), measure("0", "decade")
    ('1 decade', '1.5 decades', '0 decades')
    """
    return f"{number} {noun}" + ("" if number == "1" else "s")
