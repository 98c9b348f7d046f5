"""What is wrong with a path that a user gave."""

import os
from pathlib import Path

import pytest

from steadystep.lab.report.files import make_folder, write_files
from steadystep.lab.system.atomic import StoreError, check_folder
from steadystep.lab.system.paths import folder_problem


def odd(kind: str, folder: Path) -> Path:
    """Return a path that cannot be made a folder."""
    path = folder / "out"
    match kind:
        case "a link to nowhere":
            path.symlink_to(folder / "nowhere")
        case "a link to itself":
            path.symlink_to(path)
        case "under a link to nowhere":
            (folder / "link").symlink_to("nowhere")
            return folder / "link" / "deep" / "out"
        case "a file":
            path.write_text("content")
        case "a link to a file":
            (folder / "file").write_text("content")
            path.symlink_to(folder / "file")
        case "under a file":
            path.write_text("content")
            return path / "deep" / "out"
        case "a pipe":
            os.mkfifo(path)
        case "a system folder":
            return Path("/proc/steadystep")
        case "a long name":
            return folder / ("x" * 300)
    return path


KINDS = {
    "a link to nowhere": "is a link that leads nowhere",
    "a link to itself": "is a link that leads nowhere",
    "under a link to nowhere": "link is a link that leads nowhere",
    "a file": "out is not a folder",
    "a link to a file": "out is not a folder",
    "under a file": "out is not a folder",
    "a pipe": "out is not a folder",
    "a long name": "name too long",
}


@pytest.mark.parametrize(("kind", "words"), KINDS.items(), ids=KINDS)
def test_an_odd_path_is_named_before_and_when_it_is_written(kind: str, words: str, tmp_path: Path) -> None:
    path = odd(kind, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for write in (check_folder, make_folder, lambda folder: write_files(folder, {"report.html": ""})):
        with pytest.raises(StoreError, match=f"(?i){words}") as error:
            write(path)
        assert "\n" not in str(error.value) and "cannot write" in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_system_folder_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot write /proc/steadystep"):
        make_folder(odd("a system folder", Path()))


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert folder_problem(tmp_path / "a" / "b") == f"{tmp_path} is not writable"


@pytest.mark.parametrize("path", ["new", "new/deeper", "there", "there/new", "link", "link/new"])
def test_a_sound_path_is_accepted_and_not_created(path: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    before = sorted(tmp_path.rglob("*"))
    check_folder(tmp_path / path)
    assert sorted(tmp_path.rglob("*")) == before
    make_folder(tmp_path / path)
    check_folder(tmp_path / path)


def test_a_relative_path_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (Path(), Path("out"), Path("../out")):
        check_folder(path)
