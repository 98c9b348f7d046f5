"""The loader: local folders read without a network, images decoded once, and clear errors for missing data."""

import io
import os
import socket
from pathlib import Path

import datasets
import datasets.config
import numpy as np
import pytest
from datasets import Features, Image, Value
from PIL import Image as Picture

from real_data import SHARED, needs
from steadystep.lab.tasks import array_cache, mnist_mlp
from steadystep.lab.tasks import data as loader
from steadystep.lab.tasks.array_cache import cache_folder, cached_arrays
from steadystep.lab.tasks.data import BrokenDataError, DataNotFoundError, find_local_folder, load_images

HUB_NAME = "nobody/tiny-images"
PIXELS = np.random.RandomState(0).randint(0, 256, (14, 5, 4), np.uint8)
LABELS = np.arange(14) % 3


@pytest.fixture(autouse=True)
def _no_network_and_a_separate_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"the network was used: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("STEADYSTEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("STEADYSTEP_DATA", raising=False)


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """Write ten training and four test images under the data set's short name, and return the parent folder."""
    folder = tmp_path / "data" / "tiny-images"
    folder.mkdir(parents=True)
    for split, part in (("train", slice(0, 10)), ("test", slice(10, 14))):
        write_split(folder / f"{split}-00000-of-00001.parquet", PIXELS[part], LABELS[part])
    return folder.parent


def write_split(path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    encoded = []
    for image in pixels:
        content = io.BytesIO()
        Picture.fromarray(image).save(content, "PNG")
        encoded.append({"bytes": content.getvalue(), "path": None})
    features = Features({"image": Image(), "label": Value("int64")})
    datasets.Dataset.from_dict({"image": encoded, "label": labels.tolist()}, features).to_parquet(path)


def assert_loaded(folder: Path | None) -> None:
    images = load_images(HUB_NAME, folder)
    np.testing.assert_array_equal(images["train"].pixels, PIXELS[:10])
    np.testing.assert_array_equal(images["test"].pixels, PIXELS[10:])
    np.testing.assert_array_equal(images["test"].labels, LABELS[10:])
    assert (images["train"].pixels.dtype, images["train"].labels.dtype) == (np.uint8, np.int64)


def test_a_folder_is_read_without_a_network_and_decoded_once(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_loaded(parent)
    monkeypatch.setattr(loader, "open_folder", lambda *arguments: pytest.fail("decoded again"))
    assert_loaded(parent / "tiny-images")
    monkeypatch.setenv("STEADYSTEP_DATA", str(parent))
    assert_loaded(None)


def test_loading_prints_nothing_and_leaves_no_copy_in_the_hub_cache(
    parent: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub-cache")
    assert_loaded(parent)
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "hub-cache").exists()
    assert datasets.is_progress_bar_enabled()
    assert not datasets.config.HF_HUB_OFFLINE or "HF_HUB_OFFLINE" in os.environ


def test_a_changed_source_is_decoded_again(parent: Path) -> None:
    assert_loaded(parent)
    write_split(parent / "tiny-images" / "test-00000-of-00001.parquet", PIXELS[:3], LABELS[:3])
    assert len(load_images(HUB_NAME, parent)["test"].labels) == 3


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:200], lambda content: b"PK\3\4" * 50])
def test_a_damaged_cache_file_is_replaced(damage, parent: Path, tmp_path: Path) -> None:
    assert_loaded(parent)
    [cached] = (tmp_path / "cache").iterdir()
    whole = cached.read_bytes()
    cached.write_bytes(damage(whole))
    assert_loaded(parent)
    assert len(cached.read_bytes()) == len(whole)


def test_a_cache_file_with_a_flipped_bit_is_replaced(parent: Path, tmp_path: Path) -> None:
    assert_loaded(parent)
    [cached] = (tmp_path / "cache").iterdir()
    content = bytearray(cached.read_bytes())
    content[content.index(PIXELS[3].tobytes())] ^= 1
    cached.write_bytes(content)
    assert_loaded(parent)


def test_a_pickle_in_the_cache_is_not_loaded(parent: Path, tmp_path: Path) -> None:
    assert_loaded(parent)
    [cached] = (tmp_path / "cache").iterdir()
    np.savez(cached, train_pixels=np.array([{"any": "object"}], dtype=object))
    assert_loaded(parent)


def test_loading_works_with_a_cache_that_cannot_be_written(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STEADYSTEP_CACHE", str(tmp_path / "file" / "cache"))
    assert_loaded(parent)


def test_arrays_are_made_once_per_key() -> None:
    made: list[str] = []

    def make() -> dict[str, np.ndarray]:
        made.append("")
        return {"a": np.arange(3)}

    for key in ("one", "one", "two"):
        np.testing.assert_array_equal(cached_arrays("name", key, make)["a"], [0, 1, 2])
    assert len(made) == 2


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "/home/me/.cache/steadystep"),
        ("linux", {"XDG_CACHE_HOME": "/fast"}, "/fast/steadystep"),
        ("darwin", {}, "/home/me/Library/Caches/steadystep"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/steadystep"),
        ("linux", {"STEADYSTEP_CACHE": "/mine"}, "/mine"),
    ],
)
def test_the_cache_folder_of_each_platform(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STEADYSTEP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(array_cache.sys, "platform", platform)
    assert cache_folder() == Path(expected)


def test_the_error_for_missing_data_is_one_line_with_both_remedies(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError) as missing:
        load_images("ylecun/mnist", tmp_path)
    message = str(missing.value)
    assert "\n" not in message
    for part in ("ylecun/mnist", str(tmp_path / "mnist"), "--data DIR", "STEADYSTEP_DATA", "downloaded by name"):
        assert part in message
    with pytest.raises(DataNotFoundError):
        find_local_folder("ylecun/mnist", tmp_path / "nowhere")


def test_the_error_for_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub-cache")
    with pytest.raises(DataNotFoundError, match="the hub did not return it") as missing:
        load_images(HUB_NAME, None)
    assert "\n" not in str(missing.value)


@pytest.mark.parametrize("left", [b"no parquet", b"", "half"])
def test_the_error_for_a_broken_file_is_one_line_with_its_name(
    parent: Path, left: bytes | str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    broken = sorted((parent / "tiny-images").rglob("*.parquet"))[-1]
    whole = broken.read_bytes()
    broken.write_bytes(left if isinstance(left, bytes) else whole[: len(whole) // 2])
    with pytest.raises(BrokenDataError) as error:
        load_images(HUB_NAME, parent)
    message = str(error.value)
    assert f"cannot be read: {broken} is damaged" in message and "\n" not in message and "was not found" not in message
    assert capfd.readouterr().err == "" and not caplog.records


@needs("mnist")
def test_mnist_is_complete() -> None:
    splits = mnist_mlp.load(SHARED)
    assert [len(part.y) for part in (splits.train, splits.val, splits.test)] == [55_000, 5_000, 10_000]
    assert splits.train.x.shape == (55_000, 784)
    assert abs(splits.train.x.mean()) < 1e-4
    assert abs(splits.train.x.std() - 1) < 1e-4
    assert splits.val.y[:5].tolist() == [1, 2, 8, 7, 4]
    assert splits.test.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert splits.fingerprint == "740681bd2ada41e7"
