"""Encoded images: equal batches from every source, any number of workers, and after interruptions; broken images."""

import io
import logging
import socket
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image as Picture

from real_data import SHARED, needs
from shared_rows import assert_shared_out
from steadystep.lab.tasks import imagenet_resnet, tiny_imagenet_resnet
from steadystep.lab.tasks.data import BrokenDataError, DataNotFoundError
from steadystep.lab.tasks.image_source import UnsuitableDataError, open_images
from steadystep.lab.tasks.networks.resnet import resnet
from steadystep.lab.tasks.pipeline import EncodedImages
from steadystep.lab.tasks.splits import Arrays, Batch, Split
from steadystep.lab.tasks.streamed_images import StreamedImages
from steadystep.lab.training.evaluation import evaluate
from steadystep.lab.training.ranks import Ranks
from steadystep.lab.training.run_trial import TrialStopped, run_trial
from steadystep.lab.training.trial import Trial

CLASSES = ("n01", "n02", "n03")
TRAIN, TEST = 24, 7


@pytest.fixture(autouse=True)
def _no_network_and_a_separate_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"the network was used: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("STEADYSTEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("STEADYSTEP_DATA", raising=False)


def encoded(number: int) -> bytes:
    """Return a JPEG whose size and pixels depend on its number; every fifth is grey."""
    shape = (30 + number, 50 - number) if number % 5 == 0 else (30 + number, 50 - number, 3)
    content = io.BytesIO()
    Picture.fromarray(np.random.RandomState(number).randint(0, 256, shape, np.uint8)).save(content, "JPEG")
    return content.getvalue()


def labelled(first: int, count: int) -> list[tuple[bytes, int]]:
    """Return images with labels in the order of an image folder, sorted by class."""
    return [(encoded(first + number), number * len(CLASSES) // count) for number in range(count)]


SPLITS = {"train": labelled(0, TRAIN), "validation": labelled(TRAIN, TEST)}


def as_rows(images: Sequence[tuple[bytes, int]]) -> datasets.Dataset:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    table = {"image": [{"bytes": content, "path": None} for content, _ in images], "label": [y for _, y in images]}
    return datasets.Dataset.from_dict(table, features)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    folder = tmp_path / "parquet"
    folder.mkdir()
    for name, images in SPLITS.items():
        as_rows(images).to_parquet(folder / f"{name}-00000-of-00001.parquet")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, images in SPLITS.items():
        for number, (content, label) in enumerate(images):
            path = tmp_path / "images" / name.replace("validation", "val") / CLASSES[label] / f"{number:03}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return tmp_path / "images"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    for name, images in SPLITS.items():
        half = len(images) // 2
        write_shard(folder / f"some-{name.replace('validation', 'val')}-0000.tar", images[:half], first=0)
        write_shard(folder / f"some-{name.replace('validation', 'val')}-0001.tar", images[half:], first=half)
    return folder


def write_shard(path: Path, images: Sequence[tuple[bytes | None, int | None]], first: int = 0) -> None:
    """Write a tar file in the format of WebDataset; a part of a sample that is None is left out."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number, (content, label) in enumerate(images, first):
            parts = {"cls": None if label is None else str(label).encode(), "json": b"{}", "jpg": content}
            for extension, part in parts.items():
                if part is not None:
                    member = tarfile.TarInfo(f"n0/{number:06}.{extension}")
                    member.size = len(part)
                    archive.addfile(member, io.BytesIO(part))


def undecoded(images: Sequence[tuple[bytes, int]]) -> Any:
    return as_rows(images).cast_column("image", datasets.Image(decode=False))


def damaged(*indices: int) -> Any:
    """Return the training images, truncating the ones at these indices."""
    return undecoded([(c[:100] if index in indices else c, y) for index, (c, y) in enumerate(SPLITS["train"])])


def training(rows: Any, **options: Any) -> EncodedImages:
    return EncodedImages(rows, **({"name": "train", "size": 16, "random": True, "workers": 0} | options))


def batches(split: Split, order: torch.Tensor, epoch: int = 1) -> list[Batch]:
    return list(split.stream(order, 5, epoch))


def assert_same(first: Sequence[Batch], second: Sequence[Batch]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


ORDER = torch.randperm(TRAIN, generator=torch.Generator().manual_seed(0))


def test_batches_do_not_depend_on_workers_and_interruptions() -> None:
    rows = undecoded(SPLITS["train"])
    before = torch.get_rng_state()
    whole = batches(training(rows), ORDER)
    assert [tuple(batch.x.shape) for batch in whole] == [(5, 3, 16, 16)] * 4 + [(4, 3, 16, 16)]
    assert whole[0].x.dtype == torch.uint8
    assert torch.equal(torch.cat([batch.indices for batch in whole]), ORDER)
    assert_same(batches(training(rows), ORDER[10:]), whole[2:])
    assert_same(batches(training(rows, workers=2), ORDER), whole)
    assert torch.equal(torch.get_rng_state(), before), "torch's global random state belongs to the trial"
    assert not torch.equal(batches(training(rows), ORDER, epoch=2)[0].x, whole[0].x)


def test_grey_images_have_three_equal_channels() -> None:
    [batch] = batches(training(undecoded(SPLITS["train"])), torch.tensor([0, 1]))
    assert torch.equal(batch.x[0, 0], batch.x[0, 2]) and not torch.equal(batch.x[1, 0], batch.x[1, 2])


@pytest.mark.parametrize(("other_format", "told"), [("folder", "as image files"), ("shards", "as tar files")])
def test_all_formats_of_a_local_folder_give_the_same_data(
    other_format: str, told: str, parquet: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    other_folder: Path = request.getfixturevalue(other_format)
    first, second = (imagenet_resnet.load(path, size=16, workers=0) for path in (other_folder, parquet))
    assert first.fingerprint == second.fingerprint
    assert (len(first.train), len(first.val), len(first.test)) == (TRAIN - 1, 1, TEST)
    for name in ("train", "val", "test"):
        one, other = getattr(first, name), getattr(second, name)
        order = torch.arange(len(one))
        assert_same(batches(one, order), batches(other, order))
    assert "24 images of train, 7 images of validation" in caplog.text and told in caplog.text


def test_unsuitable_data_sets_are_refused(tmp_path: Path, parquet: Path) -> None:
    with pytest.raises(DataNotFoundError, match="--data DIR"):
        open_images("nobody/images", tmp_path / "nowhere", classes=3)
    with pytest.raises(UnsuitableDataError, match="a label 2, and the task has the 2 classes"):
        open_images("nobody/images", parquet, classes=2)
    (parquet / "validation-00000-of-00001.parquet").unlink()
    with pytest.raises(UnsuitableDataError, match="splits train: it needs train and validation"):
        open_images("nobody/images", parquet, classes=3)


def test_unsuitable_tar_files_are_refused(tmp_path: Path, shards: Path) -> None:
    shard = shards / "some-train-0001.tar"
    content = shard.read_bytes()
    for damage in (content[: len(content) // 2 + 1], b"", b"nothing like a tar file"):
        shard.write_bytes(damage)
        with pytest.raises(BrokenDataError, match=r"some-train-0001\.tar is damaged or in another format"):
            open_images("nobody/images", shards, classes=3)
    for label, problem in ((None, "1 of 24 images of train in .* have no label"), (3, "a label 3"), (-1, "a label -1")):
        write_shard(shard, [*SPLITS["train"][12:-1], (encoded(0), label)], first=12)
        with pytest.raises(UnsuitableDataError, match=problem):
            open_images("nobody/images", shards, classes=3)
    for name in ("train", "val"):
        write_shard(tmp_path / "no labels" / f"{name}.tar", [(encoded(number), None) for number in range(3)])
    with pytest.raises(UnsuitableDataError, match=r"an image and a \.cls file for each sample"):
        open_images("nobody/images", tmp_path / "no labels", classes=3)


def test_a_sample_without_an_image_is_a_broken_image(shards: Path) -> None:
    samples = [(None if index in (3, 4) else c, y) for index, (c, y) in enumerate(SPLITS["train"][:12])]
    write_shard(shards / "some-train-0000.tar", samples)
    rows = open_images("nobody/images", shards, classes=3).rows["train"]
    split = training(rows)
    first, second = batches(split, torch.tensor([3, 9])), batches(training(rows), torch.tensor([5, 9]))
    assert len(split.broken) == 2
    assert torch.equal(first[0].y, second[0].y)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_logged_counted_and_replaced_by_the_next_one(
    workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    split = training(damaged(3, 4, TRAIN - 1), workers=workers)
    found = batches(split, torch.tensor([3, 8, TRAIN - 1]))[0]
    assert len(split.broken) == 3
    assert found.indices.tolist() == [3, 8, TRAIN - 1]
    assert found.y.tolist() == [SPLITS["train"][index][1] for index in (5, 8, 0)]
    assert_same(batches(split, torch.tensor([3, 8, TRAIN - 1])), [found])
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.split(" cannot")[0] for text in warnings] == [f"image {index} of train" for index in (3, 4, TRAIN - 1)]


def test_a_broken_image_file_is_logged_with_its_name(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / "val" / "n01" / "001.JPEG"
    path.write_bytes(b"no JPEG")
    split = imagenet_resnet.load(folder, size=16, workers=0).test
    assert sum(len(batch.y) for batch in batches(split, torch.arange(TEST))) == TEST
    assert f"image 1 of validation ({path}) cannot be read" in caplog.text


def test_a_split_without_a_readable_image_is_an_error() -> None:
    split = training(damaged(*range(TRAIN)), limit=TRAIN)
    with pytest.raises(BrokenDataError, match=f"none of the {TRAIN} images of train can be read"):
        batches(split, ORDER)


@pytest.mark.parametrize("workers", [0, 1])
def test_more_broken_images_than_the_limit_raise_an_error_of_one_line(workers: int) -> None:
    tolerated = training(damaged(2, 9), limit=2)
    assert len(batches(tolerated, ORDER)) == 5
    with pytest.raises(BrokenDataError, match="it is broken image number 2, and at most 1 are tolerated") as error:
        batches(training(damaged(2, 9), workers=workers, limit=1), ORDER)
    assert "\n" not in str(error.value)
    with pytest.raises(BrokenDataError, match="at most 3 are tolerated"):
        batches(training(damaged(*range(TRAIN)), limit=3), ORDER)


def streamed(rows: Any, **options: Any) -> StreamedImages:
    defaults: dict[str, Any] = {"name": "train", "size": 16, "random": True, "buffer": 6}
    return StreamedImages(rows.to_iterable_dataset(num_shards=4), TRAIN, **(defaults | options))


def test_a_restarted_stream_continues_at_the_same_image() -> None:
    rows, used = undecoded(SPLITS["train"]), TRAIN // 5 * 5
    whole = batches(streamed(rows), ORDER[:used])
    assert len(whole) == 4
    assert_same(batches(streamed(rows), ORDER[10:used]), whole[2:])
    everything = torch.cat([batch.x for batch in batches(streamed(rows, random=False), torch.arange(TRAIN))])
    indexed = torch.cat([b.x for b in batches(training(rows, random=False), torch.arange(TRAIN))])
    assert torch.equal(everything, indexed)
    shuffled = [[batch.y for batch in batches(streamed(rows), ORDER[:used], epoch)] for epoch in (1, 2)]
    assert not torch.equal(torch.cat(shuffled[0]), torch.cat(shuffled[1]))


def test_broken_images_of_a_stream_are_replaced_up_to_the_limit() -> None:
    split = streamed(damaged(3, 4, TRAIN - 1), random=False)
    found = torch.cat([batch.y for batch in batches(split, torch.arange(TRAIN))])
    expected = [label for _, label in SPLITS["train"]]
    expected[-1] = expected[0]
    assert found.tolist() == expected and len(split.broken) == 3
    with pytest.raises(BrokenDataError, match="at most 1 are tolerated"):
        batches(streamed(damaged(3, 4), limit=1), ORDER)


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("kind", ["indexed", "streamed"])
def test_processes_that_share_out_the_rows_read_the_same_images(kind: str, size: int) -> None:
    rows = damaged(3, 4, TRAIN - 1)
    split = training(rows) if kind == "indexed" else streamed(rows)
    for order in (torch.arange(TRAIN), torch.arange(TRAIN)[10 : TRAIN // 5 * 5]):
        assert_shared_out(split, order, batch=5, epoch=1, size=size)


def test_a_process_does_not_read_the_images_of_others() -> None:
    rows = damaged(*range(TRAIN // 2))
    last = Ranks(1, 2).rows
    for split in (training(rows), streamed(rows, random=False)):
        assert len(list(split.stream(torch.arange(TRAIN), TRAIN, 1, last))) == 1
        assert len(split.broken) == 0


class _Table(torch.nn.Module):
    """A model that maps row numbers to the rows of a table."""

    def __init__(self, outputs: torch.Tensor) -> None:
        super().__init__()
        self._outputs = outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._outputs[x]


def test_top_5_accuracy_equals_a_direct_count() -> None:
    random = torch.Generator().manual_seed(0)
    outputs, y = torch.randn(600, 20, generator=random), torch.randint(20, (600,), generator=random)
    found = evaluate(_Table(outputs), Arrays(torch.arange(600), y), imagenet_resnet.TASK.recipe, test=True)
    ranks = [sum(other > row[label] for other in row) for row, label in zip(outputs.tolist(), y.tolist(), strict=True)]
    assert found.accuracy == sum(rank == 0 for rank in ranks) / 600
    assert found.also == {"top-5": sum(rank < 5 for rank in ranks) / 600}


def test_a_trial_resumes_in_the_middle_of_an_epoch_and_records_top_5(parquet: Path, tmp_path: Path) -> None:
    # Top-5 accuracy needs at least five classes.
    task = replace(
        imagenet_resnet.make_task("small", depth=18, size=16), model=partial(resnet, 18, classes=8, width=8)
    )  # fmt: skip
    splits = imagenet_resnet.load(parquet, size=16, workers=0)
    trial = Trial(
        task="small", data=splits.fingerprint, optimizer="SGD", lr=0.01, epochs=2, batch_size=5, seed=0, role="final"
    )
    task = replace(task, guess_loss=1e9)
    whole = run_trial(trial, task, splits, tmp_path / "whole.pt")
    calls = iter(range(100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steadystep.lab.training.run_trial.POLL_SECONDS", 0.0)
        with pytest.raises(TrialStopped):
            run_trial(trial, task, splits, tmp_path / "stopped.pt", stop=lambda: next(calls) == 5)
    resumed = run_trial(trial, task, splits, tmp_path / "stopped.pt")
    assert resumed.model_dump(exclude={"times", "environment"}) == whole.model_dump(exclude={"times", "environment"})
    assert whole.steps == 8 and whole.test_also.keys() == {"top-5"}


@needs("imagenet-sample-100")
def test_all_sample_images_of_imagenet_are_decoded() -> None:
    [path] = (SHARED / "imagenet-sample-100").glob("*.parquet")
    rows = datasets.Dataset.from_parquet(str(path)).cast_column("image", datasets.Image(decode=False))  # pyright: ignore[reportAttributeAccessIssue]
    split = EncodedImages(rows, name="sample", size=224, random=False, workers=0, limit=0)
    found = batches(split, torch.arange(100))
    assert torch.cat([batch.y for batch in found]).tolist() == list(range(0, 1000, 10))
    assert all(batch.x.shape == (5, 3, 224, 224) for batch in found)
    grey = sum(int((x[0] == x[1]).all()) for batch in found for x in batch.x)
    assert grey == 1 and len(split.broken) == 0


@needs("tiny-imagenet-subset")
def test_tiny_imagenet_is_complete() -> None:
    splits = tiny_imagenet_resnet.load(SHARED / "tiny-imagenet-subset")
    for split, examples in ((splits.train, 70), (splits.val, 10), (splits.test, 10)):
        assert torch.bincount(split.y).tolist() == [examples] * 200
    assert splits.fingerprint == "231645b05cbebf32"
    mean = splits.train.pixels[:2000].float().mean((0, 2, 3)) / 255
    assert torch.allclose(mean, torch.tensor([0.480, 0.449, 0.398]), atol=0.01)
