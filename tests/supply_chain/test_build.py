"""An archive depends on the files alone, and differences between two builds are named."""

import io
import shutil
import subprocess
import tarfile
import zipfile

import pytest

from .build import differences, digest, epoch, normalised, tracked


def archive(*files, mtime=1.5, uid=1000, mode=0o600):
    """Return a tar file with files in a folder `p-1`, in the given order."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as made:
        for name, content in files:
            entry = tarfile.TarInfo(f"p-1/{name}")
            entry.size, entry.mtime, entry.uid, entry.uname, entry.mode = len(content), mtime, uid, "me", mode
            made.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


A, B = ("a", b"1"), ("b", b"2")


def test_an_archive_depends_on_names_and_contents_alone():
    assert normalised(archive(A, B), 7) == normalised(archive(B, A, mtime=99.25, uid=0, mode=0o644), 7)
    assert normalised(archive(A, B), 7) != normalised(archive(A), 7)
    assert normalised(archive(A, B), 7) != normalised(archive(A, B), 8)


def test_the_files_have_one_time_and_owner_and_keep_their_content():
    with tarfile.open(fileobj=io.BytesIO(normalised(archive(A, B), 7))) as found:
        members = found.getmembers()
        assert [(entry.mtime, entry.uid, entry.uname, entry.mode) for entry in members] == [
            (7, 0, "", 0o644)
        ] * 2
        assert [found.extractfile(entry).read() for entry in members] == [b"1", b"2"]


def test_a_program_stays_a_program():
    with tarfile.open(fileobj=io.BytesIO(normalised(archive(A, mode=0o700), 7))) as found:
        assert found.getmembers()[0].mode == 0o755


@pytest.fixture
def pair(tmp_path):
    """Return two paths of the same name."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    return lambda name: (tmp_path / "one" / name, tmp_path / "two" / name)


@pytest.mark.parametrize(
    ("other", "finding"),
    [
        (archive(A, B), []),
        (archive(A, ("b", b"3")), ["p.tar.gz: p-1/b differs between two builds"]),
        (archive(A), ["p.tar.gz: p-1/b is in one of two builds only"]),
        (
            archive(A, B, mtime=9),
            ["p.tar.gz: p-1/a differs between two builds", "p.tar.gz: p-1/b differs between two builds"],
        ),
        (
            archive(B, A),
            ["p.tar.gz: two builds have the same files and differ in their order or compression"],
        ),
    ],
)
def test_a_difference_of_sdists_is_named(pair, other, finding):
    first, second = pair("p.tar.gz")
    # The header of gzip has a time.
    first.write_bytes(archive(A, B))
    second.write_bytes(first.read_bytes() if not finding else other)
    assert differences(first, second) == finding


def test_a_difference_of_wheels_is_named(pair):
    paths = pair("p.whl")
    for path, text in zip(paths, ("1", "2"), strict=True):
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("p/a.py", text)
            wheel.writestr("p/b.py", "")
    assert "p.whl: p/a.py differs between two builds" in differences(*paths)
    assert digest(paths[0]) != digest(paths[1])


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_files_and_the_time_are_those_of_git(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.invalid")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    for name in ("b", "a", "gone", "untracked"):
        (tmp_path / name).write_text("")
    git("init")
    git("add", "b", "a", "gone")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@1000000000 +0000")
    git("commit", "-m", "x")
    (tmp_path / "gone").unlink()
    assert tracked(tmp_path) == ["a", "b"]
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert epoch(tmp_path) == 1_000_000_000
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "5")
    assert epoch(tmp_path) == 5
