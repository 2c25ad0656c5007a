"""The records of definitions in the state directory."""

import os

import msgspec
import pytest

from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.core.definition_guard import KindRecord, Seen
from mcpbridged.bridge.runtime.definition_store import DefinitionStore
from mcpbridged.transports.options import Launch

RECORD = {"tool": KindRecord(True, {"read": Seen("sha256:1", "{}")}, {"x": Seen("sha256:2")})}
CONTENT = msgspec.json.encode(RECORD)
ONE = ServerConfig("one", Launch(("program", "secret"), {}))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "definitions"


@pytest.fixture
def store(folder):
    return DefinitionStore(folder)


def test_a_record_is_stored_for_its_command_only(store, folder):
    assert store.load(ONE) == {}
    assert store.keep(ONE, CONTENT, 1) == ""
    assert DefinitionStore(folder).load(ONE) == RECORD
    assert store.load(ServerConfig("two", ONE.launch)) == {}
    assert store.load(ServerConfig("one", Launch(("program", "other"), {}))) == {}
    assert store.load(ServerConfig("one", Launch(ONE.launch.argv, {}, "/"))) == {}


def test_the_file_is_private_and_has_no_argument(store, folder):
    store.keep(ONE, CONTENT, 1)
    (file,) = folder.iterdir()
    assert file.name == "one.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"secret" not in file.read_bytes()


def test_an_older_record_does_not_replace_a_newer_one(store):
    store.keep(ONE, CONTENT, 2)
    assert store.keep(ONE, b"{}", 1) == ""
    assert store.load(ONE) == RECORD
    store.keep(ONE, b"{}", 3)
    assert store.load(ONE) == {}


@pytest.mark.parametrize("content", [b"", b"{", b'{"key":"x","identity":"","kinds":{}}', b'{"key":"ab"}'])
def test_a_file_that_is_not_valid_is_ignored(store, folder, content):
    store.keep(ONE, CONTENT, 1)
    (folder / "one.json").write_bytes(content)
    assert store.load(ONE) == {}
    assert store.keep(ONE, CONTENT, 2) == ""
    assert store.load(ONE) == RECORD


def test_a_file_of_another_version_or_that_others_can_write_is_ignored(store, folder):
    store.keep(ONE, CONTENT, 1)
    file = folder / "one.json"
    file.chmod(0o622)
    assert store.load(ONE) == {}
    file.chmod(0o600)
    file.write_bytes(file.read_bytes().replace(b'"version":1', b'"version":2'))
    assert store.load(ONE) == {}


def test_a_link_and_a_pipe_are_ignored(store, folder):
    store.keep(ONE, CONTENT, 1)
    file = folder / "one.json"
    file.rename(folder / "real")
    file.symlink_to(folder / "real")
    assert store.load(ONE) == {}
    file.unlink()
    os.mkfifo(file, 0o600)
    assert store.load(ONE) == {}


def test_a_directory_that_others_can_write_is_not_used(store, folder):
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert "must be yours" in store.keep(ONE, CONTENT, 1)
    assert not [*folder.iterdir()]


def test_a_directory_that_cannot_be_made_is_a_reason(store, folder):
    folder.parent.write_text("")
    assert "cannot be written" in store.keep(ONE, CONTENT, 1)
