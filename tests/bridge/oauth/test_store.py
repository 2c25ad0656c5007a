"""The credential store: modes, owners, changes by others, and locks that no crash leaves behind."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys

import pytest
import trio

from mcpbridged.bridge.oauth.entries import Credentials
from mcpbridged.bridge.oauth.store import CredentialStore, FileBackend, StoreBusy, StoreFault

pytestmark = pytest.mark.anyio

ENTRY = Credentials("https://as", "https://h/mcp", "c", "https://as/token", access_token="SECRET-TOKEN")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def store(folder):
    return CredentialStore(FileBackend(folder), folder)


async def test_an_entry_is_read_as_it_was_written(store):
    await store.write("a", ENTRY)
    await store.write("b", ENTRY)
    assert await store.read("a", Credentials) == ENTRY
    await store.erase("a")
    assert await store.read("a", Credentials) is None
    assert await store.read("b", Credentials) == ENTRY


async def test_an_absent_store_has_no_entries(store):
    assert await store.read("a", Credentials) is None
    assert store.mark() == ()


async def test_only_the_owner_has_access(store, folder):
    before = os.umask(0)
    try:
        await store.write("a", ENTRY)
        async with store.locked("a"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


async def test_a_change_by_another_process_is_seen(store, folder):
    await store.write("a", ENTRY)
    mark = store.mark()
    assert store.mark() == mark
    await CredentialStore(FileBackend(folder), folder).write("b", ENTRY)
    assert store.mark() != mark


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("scopes", 7),
        ("access_token", "in\r\nX-Injected: 1"),
        ("access_token", "two words"),
        ("access_token", "é"),
    ],
)
async def test_an_entry_of_another_form_counts_as_absent(store, member, value):
    await store.write("a", ENTRY)
    path = store._backend.path
    content = json.loads(path.read_text())
    content["entries"]["a"][member] = value
    path.write_text(json.dumps(content))
    assert await store.read("a", Credentials) is None


async def test_members_of_a_later_version_are_ignored(store):
    await store.write("a", ENTRY)
    path = store._backend.path
    content = json.loads(path.read_text())
    content["entries"]["a"]["later"] = 7
    path.write_text(json.dumps(content))
    assert await store.read("a", Credentials) == ENTRY


def spoiled(content):
    def spoil(path):
        path.write_bytes(content)

    return spoil


def linked(path):
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def piped(path):
    path.unlink()
    os.mkfifo(path, 0o600)


def closed_directory(path):
    path.unlink()
    path.mkdir(0o700)


UNUSABLE = {
    "readable by others": (
        lambda path: path.chmod(0o640),
        "mode 0640; others must have no access: chmod 600",
    ),
    "a link": (linked, "is a symbolic link"),
    "a pipe": (piped, "must be a regular file"),
    "a directory": (closed_directory, "must be a regular file"),
    "no JSON": (spoiled(b'{"entries": SECRET'), "remove it and run `mcp-bridge login` again"),
    "another form": (spoiled(b'{"entries": [], "version": 1}'), "remove it"),
    "another version": (
        spoiled(b'{"entries": {}, "version": 2}'),
        "has version 2; this mcp-bridge reads version 1",
    ),
    "too large": (spoiled(b" " * (4 * 1024 * 1024 + 1)), "more than 4194304 bytes"),
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_an_unusable_file_is_refused_and_never_replaced(store, name):
    spoil, reason = UNUSABLE[name]
    await store.write("a", ENTRY)
    spoil(store._backend.path)
    with pytest.raises(StoreFault, match=reason) as caught:
        await store.read("a", Credentials)
    assert "SECRET" not in str(caught.value)
    with pytest.raises(StoreFault, match=reason):
        await store.write("a", ENTRY)


async def test_a_directory_that_others_can_change_is_refused(store, folder):
    await store.write("a", ENTRY)
    folder.chmod(0o777)
    with pytest.raises(StoreFault, match="writable by you only"):
        await store.write("a", ENTRY)
    with pytest.raises(StoreFault, match="writable by you only"):
        async with store.locked("a"):
            pass


async def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "state"
    store = CredentialStore(FileBackend(folder), folder)
    with pytest.raises(StoreFault, match="cannot be used: Not a directory"):
        await store.write("a", ENTRY)


async def test_a_lock_that_is_no_file_is_refused(store, folder):
    async with store.locked("a"):
        pass
    [lock] = folder.iterdir()
    lock.unlink()
    lock.symlink_to("elsewhere")
    with pytest.raises(StoreFault, match="cannot be opened"):
        async with store.locked("a"):
            pass


async def test_a_failed_write_leaves_the_former_content(store, folder, monkeypatch):
    await store.write("a", ENTRY)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFault, match="cannot be written: No space left"):
        await store.erase("a")
    monkeypatch.undo()
    assert await store.read("a", Credentials) == ENTRY
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


async def test_the_number_of_entries_is_limited(store, monkeypatch):
    monkeypatch.setattr("mcpbridged.bridge.oauth.store._MOST_ENTRIES", 2)
    for key in "abb":
        await store.write(key, ENTRY)
    with pytest.raises(StoreFault, match="2 entries, which is the limit"):
        await store.write("c", ENTRY)


async def test_writers_at_once_lose_no_entry(folder):
    stores = [CredentialStore(FileBackend(folder), folder) for _ in range(20)]
    async with trio.open_nursery() as nursery:
        for number, one in enumerate(stores):
            nursery.start_soon(one.write, str(number), ENTRY)
    assert len(json.loads((folder / "oauth.json").read_text())["entries"]) == 20


async def test_a_lock_is_held_by_one_task_at_a_time(store, folder):
    other = CredentialStore(FileBackend(folder), folder)
    order = []

    async def hold(which, held):
        async with which.locked("a") as waited:
            order.append(waited)
            held.set()
            await trio.testing.wait_all_tasks_blocked()

    first, second = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, store, first)
        await first.wait()
        nursery.start_soon(hold, other, second)
    assert order == [False, True]


async def test_a_lock_that_is_held_for_too_long_is_given_up(store, folder):
    other = CredentialStore(FileBackend(folder), folder)
    async with store.locked("a"):
        with pytest.raises(StoreBusy, match="a login for the server is in progress in another process"):
            async with other.locked("a", 0.05):
                pass
    async with other.locked("a", 0) as waited:
        assert not waited


async def test_locks_of_different_keys_are_independent(store):
    async with store.locked("a") as one, store.locked("b") as other:
        assert (one, other) == (False, False)


HOLDER = """
import sys, trio
from pathlib import Path
from mcpbridged.bridge.oauth.store import CredentialStore, FileBackend
folder = Path(sys.argv[1])
async def main():
    async with CredentialStore(FileBackend(folder), folder).locked("a"):
        print("held", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_a_killed_process_leaves_no_lock(store, folder):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        with trio.move_on_after(0.1) as cancelled:
            async with store.locked("a"):
                pass
        assert cancelled.cancelled_caught
        process.send_signal(signal.SIGKILL)
        with trio.fail_after(10):
            async with store.locked("a"):
                pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_a_file_system_without_locks_is_named(store, monkeypatch):
    def refuse(_descriptor, _operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("mcpbridged.bridge.oauth.store.fcntl.flock", refuse)
    with pytest.raises(StoreFault, match="can be locked: No locks available"):
        await store.write("a", ENTRY)
    with pytest.raises(StoreFault, match="can be locked: No locks available"):
        async with store.locked("a"):
            pass
