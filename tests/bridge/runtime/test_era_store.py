"""Facts in a file of the state directory, also where the file cannot be trusted."""

import os

import pytest

from mcpbridged.bridge.core.era_cache import FACT_SECONDS
from mcpbridged.bridge.runtime import era_store
from mcpbridged.bridge.runtime.era_store import VALID, EraStore
from mcpbridged.transports.options import Launch

NOW = 1_000_000.0


@pytest.fixture
def now(monkeypatch):
    now = [NOW]
    monkeypatch.setattr(era_store.time, "time", lambda: now[0])
    return now


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "eras.json"


@pytest.fixture
def launch(tmp_path):
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return Launch((str(program),), {"SECRET": "hidden"})


def stored(path, launch):
    """Store a fact; return its name."""
    store = EraStore(path)
    name, _, fact = store.recall(launch)
    assert fact is None
    store.keep(name, True, False)
    assert store.fault == ""
    return name


def test_a_fact_survives_the_daemon(path, launch, now):
    name = stored(path, launch)
    recalled, valid, fact = EraStore(path).recall(launch)
    assert (recalled, valid, fact.modern, fact.legacy, fact.since) == (name, VALID, True, False, NOW)


def test_the_file_is_private_and_has_no_secret(path, launch):
    stored(path, launch)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert b"hidden" not in path.read_bytes()
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(("age", "valid"), [(VALID, True), (VALID + 1, False), (-60, True), (-61, False)])
def test_a_fact_ends_also_when_the_clock_is_set_back(path, launch, now, age, valid):
    stored(path, launch)
    now[0] += age
    assert (EraStore(path).recall(launch)[2] is not None) is valid


def test_a_fact_of_a_command_that_fetches_its_program_is_valid_for_a_day(path):
    assert EraStore(path).recall(Launch(("npx", "some-server"), {}))[1] == FACT_SECONDS


def test_another_program_environment_or_folder_has_another_name(path, launch, tmp_path):
    store = EraStore(path)
    names = {store.recall(launch)[0]}
    names.add(store.recall(Launch(launch.argv, {"SECRET": "other"}))[0])
    names.add(store.recall(Launch(launch.argv, launch.env, cwd=str(tmp_path)))[0])
    (tmp_path / "server").write_text("#!/bin/sh\nexit 1\n")
    names.add(store.recall(launch)[0])
    assert len(names) == 4


def test_a_fact_that_is_forgotten_is_unknown(path, launch):
    name = stored(path, launch)
    store = EraStore(path)
    store.forget(name)
    store.forget("unknown")
    assert store.recall(launch)[2] is None


def test_the_newest_facts_are_kept(path, launch, monkeypatch):
    monkeypatch.setattr(era_store, "_MOST", 2)
    name = stored(path, launch)
    store = EraStore(path)
    store.keep("b", True, None)
    store.keep(name, True, None)
    store.keep("c", True, None)
    assert set(store._read().facts) == {name, "c"}


def spoil(path, how):
    match how:
        case "garbage":
            path.write_text("{")
        case "readable by others":
            path.chmod(0o644)
        case "a link":
            path.rename(path.with_name("real"))
            path.symlink_to(path.with_name("real"))
        case "too large":
            path.write_bytes(path.read_bytes() + b" " * 256 * 1024)
        case "a pipe":
            path.unlink()
            os.mkfifo(path, 0o600)
        case "another version":
            path.write_bytes(path.read_bytes().replace(b'"version":2', b'"version":1'))


@pytest.mark.parametrize(
    "how", ["garbage", "readable by others", "a link", "too large", "a pipe", "another version"]
)
def test_a_file_that_cannot_be_trusted_is_replaced(path, launch, how):
    stored(path, launch)
    spoil(path, how)
    store = EraStore(path)
    assert store.recall(launch)[2] is None
    name = store.recall(launch)[0]
    store.keep(name, None, True)
    assert EraStore(path).recall(launch)[2].legacy is True


def test_a_folder_that_others_can_write_is_not_used(path, launch):
    path.parent.mkdir()
    path.parent.chmod(0o777)
    store = EraStore(path)
    store.recall(launch)
    assert "writable by no other user" in store.fault
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_a_fault_and_no_error(tmp_path, launch):
    (tmp_path / "file").write_text("")
    store = EraStore(tmp_path / "file" / "eras.json")
    assert store.recall(launch)[2] is None
    assert "cannot be written" in store.fault


def test_a_fact_of_a_remote_server_is_stored_under_its_url(path, now):
    store = EraStore(path)
    launch = Launch((), {})
    name, valid, _ = store.recall(launch, ("url", "https://example.com/a?key=secret", "auto"))
    store.keep(name, True, False)
    assert valid == FACT_SECONDS
    assert store.recall(launch, ("url", "https://example.com/a?key=secret", "auto"))[2].modern is True
    assert store.recall(launch, ("url", "https://example.com/b", "auto"))[2] is None
    assert "example" not in path.read_text()
