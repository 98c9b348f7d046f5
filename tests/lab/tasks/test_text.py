"""Encoded text: vocabularies and unknown words, the loader, and batches that continue the previous ones."""

from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from real_data import SHARED, needs
from steadystep.lab.tasks import charlm_transformer, ptb_lstm
from steadystep.lab.tasks import data as loader
from steadystep.lab.tasks.data import BrokenDataError
from steadystep.lab.tasks.lanes import Lanes
from steadystep.lab.tasks.text import characters, encode, load_tokens, make_vocabulary, windows, words

HUB_NAME = "nobody/two-lines"
SENTENCES = {
    "train": ["the cat <unk> the cat", "the dog <unk>"],
    "validation": ["the bird"],
    "test": ["dog cat"],
}


@pytest.fixture(autouse=True)
def _separate_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEADYSTEP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """Write the sentences under the data set's short name, and return the parent folder."""
    folder = tmp_path / "data" / "two-lines"
    folder.mkdir(parents=True)
    for split, sentences in SENTENCES.items():
        write_split(folder, split, sentences)
    return folder.parent


def write_split(folder: Path, split: str, sentences: list[str], column: str = "sentence") -> None:
    datasets.Dataset.from_dict({column: sentences}).to_parquet(folder / f"{split}-00000-of-00001.parquet")


def test_words_are_numbered_by_frequency_and_others_become_unknown(parent: Path) -> None:
    # Counts: the 3, "<eos>" 2, "<unk>" 2, cat 2, dog 1; ties are ordered by code points.
    tokens = load_tokens(HUB_NAME, parent, column="sentence", tokenise=words, vocabulary=10)
    the, eos, unk, cat, dog = range(5)
    assert tokens["train"].tolist() == [the, cat, unk, the, cat, eos, the, dog, unk, eos]
    assert tokens["validation"].tolist() == [the, unk, eos]
    assert tokens["test"].tolist() == [dog, cat, eos]
    few = load_tokens(HUB_NAME, parent, column="sentence", tokenise=words, vocabulary=4)
    assert few["test"].tolist() == [unk, cat, eos]


def test_words_and_characters_of_one_data_set_are_cached_separately(parent: Path) -> None:
    by_words = load_tokens(HUB_NAME, parent, column="sentence", tokenise=words, vocabulary=10)
    with pytest.raises(BrokenDataError, match="has the token 'b', which is not among the 14 most frequent") as error:
        load_tokens(HUB_NAME, parent, column="sentence", tokenise=characters, vocabulary=99)
    assert "\n" not in str(error.value)
    for split in ("validation", "test"):
        write_split(parent / "two-lines", split, ["cat"])
    by_characters = load_tokens(HUB_NAME, parent, column="sentence", tokenise=characters, vocabulary=99)
    assert len(by_words["train"]) < len(by_characters["train"]) == len("".join(SENTENCES["train"]))


def test_a_text_is_read_once(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_tokens(HUB_NAME, parent, column="sentence", tokenise=words, vocabulary=10)
    monkeypatch.setattr(loader, "open_folder", lambda *arguments: pytest.fail("read again"))
    second = load_tokens(HUB_NAME, parent, column="sentence", tokenise=words, vocabulary=10)
    np.testing.assert_array_equal(first["train"], second["train"])


def test_the_error_for_a_missing_column_or_split(parent: Path) -> None:
    with pytest.raises(BrokenDataError, match="no column 'text' in its split 'train', only sentence"):
        load_tokens(HUB_NAME, parent, column="text", tokenise=words, vocabulary=10)
    (parent / "two-lines" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(BrokenDataError, match="no split 'test', only train, validation"):
        load_tokens(HUB_NAME, parent, column="sentence", tokenise=words, vocabulary=10)


def test_a_token_outside_a_vocabulary_without_unknown_is_an_error() -> None:
    with pytest.raises(KeyError, match="c"):
        encode("abc", make_vocabulary("ab", 5))


@pytest.mark.parametrize("tokens", [9, 10, 11])
def test_windows_drop_less_than_one_window(tokens: int) -> None:
    x, y = windows(np.arange(tokens), 3)
    assert x.shape == y.shape == ((tokens - 1) // 3, 3)
    assert torch.equal(x + 1, y)
    assert torch.equal(x.flatten(), torch.arange(x.numel()))


def make_lanes(count: int, parts: int = 1) -> Lanes:
    return Lanes(*windows(np.arange(4 * count + 1), 4), parts=parts)


@pytest.mark.parametrize(("count", "batch"), [(12, 3), (13, 3), (5, 1), (2, 4)])
def test_every_window_is_read_once_and_rows_continue(count: int, batch: int) -> None:
    batches = list(make_lanes(count).stream(torch.arange(count), batch, epoch=0))
    whole = [part for part in batches if len(part.x) == batch]
    for part, following in pairwise(whole):
        assert torch.equal(part.y[:, -1], following.x[:, 0])
    assert torch.cat([part.indices for part in batches]).sort().values.tolist() == list(range(count))
    assert all(torch.equal(part.x[:, 0], 4 * part.indices) for part in batches)


def test_a_stream_restarted_in_the_middle_of_an_epoch_continues() -> None:
    lanes = make_lanes(12)
    whole = list(lanes.stream(torch.arange(12), 3, epoch=0))
    rest = list(lanes.stream(torch.arange(12)[6:], 3, epoch=0))
    assert [part.indices.tolist() for part in rest] == [part.indices.tolist() for part in whole[2:]]


def test_epochs_read_the_parts_in_turn() -> None:
    lanes = make_lanes(13, parts=3)
    assert len(lanes) == 4
    read = [torch.cat([part.indices for part in lanes.stream(torch.arange(4), 2, epoch)]) for epoch in range(4)]
    assert [part.sort().values.tolist() for part in read] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [0, 1, 2, 3]]


@needs("ptb_text_only")
def test_the_treebank_is_complete() -> None:
    tokens = load_tokens(
        "ptb-text-only/ptb_text_only", SHARED, column="sentence", tokenise=words, vocabulary=ptb_lstm.VOCABULARY
    )
    assert [len(tokens[split]) for split in ("train", "validation", "test")] == [929_589, 73_760, 82_430]
    assert len(np.unique(tokens["train"])) == ptb_lstm.VOCABULARY
    splits = ptb_lstm.load(SHARED)
    assert len(splits.train) == 929_588 // ptb_lstm.LENGTH // ptb_lstm.PARTS
    assert splits.fingerprint == "16698fce49bec0de"


@needs("tiny_shakespeare")
def test_shakespeare_is_complete() -> None:
    splits = charlm_transformer.load(SHARED)
    assert [part.x.numel() for part in (splits.train, splits.val, splits.test)] == [1_003_840, 55_744, 55_744]
    assert len(splits.train.x.unique()) == charlm_transformer.VOCABULARY
    assert splits.fingerprint == "697858ca88ef0310"
