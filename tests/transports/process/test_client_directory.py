"""Which directories of clients are accepted."""

import os
from pathlib import Path

import pytest

from mcpbridged.transports.options import Directory
from mcpbridged.transports.process import client_directory
from mcpbridged.transports.process.client_directory import DirectoryRefused, find_directory


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "src/project").mkdir(parents=True)
    (tmp_path / "srcret").mkdir()
    (tmp_path / "src/file").touch()
    (tmp_path / "src/out").symlink_to("../srcret")
    (tmp_path / "allowed").symlink_to("src")
    return tmp_path.resolve()


def found(folder, path, *allowed):
    return find_directory(os.fsencode(f"{folder}/{path}"), [f"{folder}/{one}" for one in allowed or ("src",)])


def reason(*arguments):
    with pytest.raises(DirectoryRefused) as refused:
        found(*arguments)
    return str(refused.value)


@pytest.mark.parametrize(
    "allowed", [("src",), ("allowed",), ("srcret", "src/"), ("src/project",), ("missing", "")]
)
@pytest.mark.parametrize("path", ["src/project", "allowed/project", "src/out/../src/project//."])
def test_a_directory_in_an_allowed_one_is_found_without_its_links(folder, path, allowed):
    at = (folder / "src/project").stat()
    assert found(folder, path, *allowed) == Directory(f"{folder}/src/project", at.st_dev, at.st_ino)


def test_the_root_directory_allows_every_directory(folder):
    assert find_directory(os.fsencode(folder), ["/"]).path == str(folder)
    assert find_directory(b"/", ["/"]).path == "/"


@pytest.mark.parametrize("path", ["", "srcret", "src/out", "src/..", "allowed/../srcret"])
def test_another_directory_is_refused(folder, path):
    assert reason(folder, path) == "it lies in none of the directories in cwd_allowed"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/file", "it is not a directory"),
        ("src/missing", "it does not exist"),
        ("src/" + 300 * "x", "File name too long"),
    ],
)
def test_what_is_no_directory_is_refused(folder, path, expected):
    assert reason(folder, path) == expected


def test_a_removed_directory_is_refused(folder):
    descriptor = os.open(folder / "src/project", os.O_PATH)
    try:
        (folder / "src/project").rmdir()
        with pytest.raises(DirectoryRefused, match="it was removed"):
            find_directory(b"/proc/self/fd/%d" % descriptor, [str(folder)])
        # A directory that has the name which the kernel shows for it.
        (folder / "src/project (deleted)").mkdir()
        with pytest.raises(DirectoryRefused, match="it was removed"):
            find_directory(b"/proc/self/fd/%d" % descriptor, [str(folder)])
    finally:
        os.close(descriptor)


def test_a_directory_that_cannot_be_entered_is_refused(folder, monkeypatch):
    # Root enters every directory.
    monkeypatch.setattr(client_directory.os, "access", lambda _path, mode: mode != os.X_OK)
    assert reason(folder, "src/project") == "Permission denied"


def test_no_descriptor_stays_open(folder):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ("src/project", "srcret", "src/file", "src/missing"):
        try:
            found(folder, path)
        except DirectoryRefused:
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_path_that_is_not_utf_8_is_shown_with_escapes(folder):
    path = os.fsencode(folder) + b"/src/\xff\xc3\xa9"
    os.mkdir(path)
    directory = find_directory(path, [str(folder)])
    assert os.fsencode(directory.path) == path
    assert directory.shown == f"{folder}/src/\\xff\u00e9"
