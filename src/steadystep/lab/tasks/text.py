"""Text data sets encoded as token numbers, and the loss and accuracy of language models."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from steadystep.lab.tasks.data import BrokenDataError, load_arrays

END = "<eos>"
UNKNOWN = "<unk>"
SPLITS = ("train", "validation", "test")

PARQUET = "refs/convert/parquet"
"""The revision with the hub's conversion to parquet, for data sets whose script `datasets` no longer runs."""

Tokenise = Callable[[Iterable[str]], list[str]]


def words(rows: Iterable[str]) -> list[str]:
    """Split each row into words and append an end-of-sentence token to it.

    >>> words(["no it was n't", "black monday"])
    ['no', 'it', 'was', "n't", '<eos>', 'black', 'monday', '<eos>']
    """
    return [word for row in rows for word in (*row.split(), END)]


def characters(rows: Iterable[str]) -> list[str]:
    """Split the rows into characters.

    >>> characters(["To be", "?"])
    ['T', 'o', ' ', 'b', 'e', '?']
    """
    return [character for row in rows for character in row]


def make_vocabulary(tokens: Iterable[str], max_size: int) -> dict[str, int]:
    """Assign numbers to the most frequent tokens, at most `max_size` of them, in order of decreasing frequency.

    Tokens of equal frequency are in the order of their code points.

    >>> make_vocabulary("banana", max_size=2)
    {'a': 0, 'n': 1}
    """
    counts = Counter(tokens)
    most_frequent = sorted(counts, key=lambda token: (-counts[token], token))[:max_size]
    return {token: number for number, token in enumerate(most_frequent)}


def encode(tokens: Sequence[str], vocabulary: Mapping[str, int]) -> np.ndarray:
    """Return the tokens' numbers, (tokens,) int32; a token outside the vocabulary becomes "<unk>".

    Raises:
        KeyError: If a token is outside a vocabulary that has no "<unk>".
    """
    unknown = vocabulary.get(UNKNOWN)
    numbers = (vocabulary[token] if unknown is None else vocabulary.get(token, unknown) for token in tokens)
    return np.fromiter(numbers, np.int32, len(tokens))


def load_tokens(
    hub_name: str, data: Path | None, *, column: str, tokenise: Tokenise, vocabulary: int
) -> Mapping[str, np.ndarray]:
    """Return the encoded tokens of the splits train, validation and test, (tokens,) int32 each.

    Args:
        hub_name: Owner/name on the hub.
        data: A local folder, or None; see `data.load_arrays`.
        column: The column that contains the text.
        tokenise: Splits rows into tokens. Its name is part of the cache key.
        vocabulary: The size of the vocabulary: that many of the training split's most frequent tokens, at most.

    Raises:
        DataNotFoundError: If the data set was not found.
        BrokenDataError: If it cannot be read, or a token is outside a vocabulary that has no "<unk>".
    """

    def make(opened: Mapping[str, Any]) -> dict[str, np.ndarray]:
        tokens = {split: tokenise(opened[split][column]) for split in SPLITS}
        numbers = make_vocabulary(tokens["train"], vocabulary)
        try:
            return {split: encode(part, numbers) for split, part in tokens.items()}
        except KeyError as error:
            raise BrokenDataError(
                f"the data set {hub_name} has the token {error}, which is not among the {len(numbers)} most frequent "
                f"tokens of its training split, and no {UNKNOWN} to replace it: give another folder with --data"
            ) from None

    key = f"{tokenise.__name__} {vocabulary}"
    return load_arrays(hub_name, data, SPLITS, (column,), make, key=key, revision=PARQUET)


def windows(tokens: np.ndarray, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a text into windows: inputs and the tokens that follow them, (windows, length) int64 each.

    Tokens at the end that do not fill a window are dropped.

    >>> windows(np.arange(6), 2)[1].tolist()
    [[1, 2], [3, 4]]
    """
    count = (len(tokens) - 1) // length
    text = torch.from_numpy(tokens[: count * length + 1].astype(np.int64))
    return text[:-1].view(count, length), text[1:].view(count, length)


def next_token_loss(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy in nats, for outputs (batch, length, vocabulary) and y (batch, length)."""
    return functional.cross_entropy(outputs.flatten(0, -2), y.flatten())


def next_token_correct(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return whether the token with the largest output is the next token."""
    return outputs.argmax(-1) == y
