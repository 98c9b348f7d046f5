"""Text as numbers: data sets of words or characters, and what a language model's recipe asks of its outputs."""

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
"""The hub's own conversion of data sets whose repository is a script, which `datasets` no longer runs."""

Tokenise = Callable[[Iterable[str]], list[str]]


def words(rows: Iterable[str]) -> list[str]:
    """The words of each row, and after it an end.

    >>> words(["no it was n't", "black monday"])
    ['no', 'it', 'was', "n't", '<eos>', 'black', 'monday', '<eos>']
    """
    return [word for row in rows for word in (*row.split(), END)]


def characters(rows: Iterable[str]) -> list[str]:
    """
    >>> characters(["To be", "?"])
    ['T', 'o', ' ', 'b', 'e', '?']
    """
    return [character for row in rows for character in row]


def make_vocabulary(tokens: Iterable[str], most: int) -> dict[str, int]:
    """At most so many tokens with their numbers, the most frequent first; of equals the first in order of code points.

    >>> make_vocabulary("banana", most=2)
    {'a': 0, 'n': 1}
    """
    counts = Counter(tokens)
    kept = sorted(counts, key=lambda token: (-counts[token], token))[:most]
    return {token: number for number, token in enumerate(kept)}


def encode(tokens: Sequence[str], vocabulary: Mapping[str, int]) -> np.ndarray:
    """Their numbers, (tokens,) int32; a token that is not in the vocabulary is its unknown one.

    Raises:
        KeyError: for such a token, where the vocabulary has no "<unk>".
    """
    unknown = vocabulary.get(UNKNOWN)
    numbers = (vocabulary[token] if unknown is None else vocabulary.get(token, unknown) for token in tokens)
    return np.fromiter(numbers, np.int32, len(tokens))


def load_tokens(
    hub_name: str, data: Path | None, *, column: str, tokenise: Tokenise, vocabulary: int
) -> Mapping[str, np.ndarray]:
    """The tokens of the splits train, validation and test, (tokens,) int32 each: see `data.load_arrays`.

    The vocabulary is that of the training split: its most frequent tokens, at most so many.

    Raises:
        DataNotFoundError: where the data set is not to be had.
        BrokenDataError: where it cannot be read, or has a token that the vocabulary lacks and no "<unk>".
    """

    def make(opened: Mapping[str, Any]) -> dict[str, np.ndarray]:
        tokens = {split: tokenise(opened[split][column]) for split in SPLITS}
        numbers = make_vocabulary(tokens["train"], vocabulary)
        try:
            return {split: encode(part, numbers) for split, part in tokens.items()}
        except KeyError as error:
            raise BrokenDataError(
                f"the data set {hub_name} has {error} besides the {len(numbers)} most frequent tokens of its training "
                f"split, and no {UNKNOWN} to stand for it: give another folder with --data"
            ) from None

    key = f"{tokenise.__name__} {vocabulary}"
    return load_arrays(hub_name, data, SPLITS, (column,), make, key=key, revision=PARQUET)


def windows(tokens: np.ndarray, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and the tokens that come next, (windows, length) int64 each; fewer than `length` at the end are left out.

    >>> windows(np.arange(6), 2)[1].tolist()
    [[1, 2], [3, 4]]
    """
    count = (len(tokens) - 1) // length
    text = torch.from_numpy(tokens[: count * length + 1].astype(np.int64))
    return text[:-1].view(count, length), text[1:].view(count, length)


def next_token_loss(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats: outputs (batch, length, vocabulary), y (batch, length)."""
    return functional.cross_entropy(outputs.flatten(0, -2), y.flatten())


def likeliest_token(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Whether the token with the largest output is the one that comes next."""
    return outputs.argmax(-1) == y
