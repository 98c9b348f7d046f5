"""Text that cannot break a table or control a terminal."""


def printable(text: str) -> str:
    r"""Replace line breaks and control characters, which could break a table or control a terminal.

    Names come from the user.

    >>> printable("Adam\x1b[31m")
    'Adam�[31m'
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
