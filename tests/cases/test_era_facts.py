"""Cached eras of servers survive the daemon, in a file that discloses nothing about the servers."""

import json
import os
import stat
import sys
import time

import pytest

from mcpbridged.bridge.core.era_cache import FACT_SECONDS
from mcpbridged.bridge.runtime import era_store
from mcpbridged.bridge.runtime.era_store import VALID, EraStore
from mcpbridged.transports.options import Launch

from ..support.daemon_process import Daemon, write_config
from ..support.first_requests import failing_command, first_responses

OTHER = {"legacy": "modern", "modern": "legacy"}
WAYS = ("http", "ws", "modern", "shared-http", "shared-modern")
SECRET = "a-secret-of-the-environment"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run three daemons in succession. Return the answers and starts of each server in each of them."""
    folder = tmp_path_factory.mktemp("facts")
    servers = {}

    def add(name, era, **keys):
        place = folder / name
        place.mkdir()
        (place / "era").write_text(era)
        env = {"PLACE": str(place), "SECRET": SECRET}
        # Each daemon has another mark of its processes.
        servers[name] = {"command": failing_command("told"), "env": env, "pass_env": [], **keys}

    for era in OTHER:
        add(f"kept-{era}", era)
        add(f"touched-{era}", era, command=[*failing_command("told"), str(folder / "named")])
        for way in WAYS:
            share = {"share": "principal"} if way.startswith("shared") else {}
            add(f"stale-{era}-{way}", era, **share)
    (folder / "named").touch()
    write_config(folder / "config.toml", servers)

    def starts(name):
        file = folder / name / "started"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def run():
        before = {name: starts(name) for name in servers}
        with Daemon(folder) as running:
            # First a modern client, for which the era must be probed, then the client of the name.
            answers = first_responses(
                running, [(name, "modern") for name in servers if "kept" in name or "touched" in name]
            )
            answers |= first_responses(
                running, [(name, name.rpartition("-")[2]) for name in servers if name.startswith("stale")]
            )
            shown = {one["name"]: one for one in running.status()["servers"]}
            file = folder / "run/state/mcp-bridge/eras.json"
            until(lambda: file.exists() and len(json.loads(file.read_text())["facts"]) >= len(servers))
        return answers, shown, {name: starts(name) - before[name] for name in servers}

    found = [run()]
    found[0][1]["file"] = (folder / "run/state/mcp-bridge/eras.json").stat().st_mode
    found[0][1]["text"] = (folder / "run/state/mcp-bridge/eras.json").read_text()
    os.utime(folder / "named", (1, 1))
    for name in servers:
        if name.startswith("stale"):
            (folder / name / "era").write_text(OTHER[name.split("-")[1]])
    found.append(run())
    found.append(run())
    return found


def until(true):
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.02)


@pytest.mark.parametrize("era", OTHER)
def test_h5_a_fact_survives_the_daemon(runs, era):
    name = f"kept-{era}"
    assert [shown[name]["era"] for _, shown, _ in runs] == [era] * 3
    assert runs[0][2][name] >= 2
    assert [starts[name] for _, _, starts in runs[1:]] == [1, 1]


@pytest.mark.parametrize("era", OTHER)
def test_h5_a_file_that_has_changed_makes_its_facts_invalid(runs, era):
    name = f"touched-{era}"
    assert runs[1][2][name] >= 2
    assert runs[2][2][name] == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("era", OTHER)
def test_h5_a_wrong_fact_causes_no_error_for_a_client(runs, era, way):
    name = f"stale-{era}-{way}"
    for answers, shown, _ in runs:
        assert "result" in answers[name], answers[name]
        assert shown[name]["fault"] == ""
    if "modern" in way:
        assert [shown[name]["era"] for _, shown, _ in runs] == [era, OTHER[era], OTHER[era]]


def test_h5_the_file_is_readable_by_its_owner_only_and_discloses_nothing(runs):
    shown = runs[0][1]
    assert stat.S_IMODE(shown["file"]) == 0o600
    for word in (SECRET, "told", "PLACE", "kept"):
        assert word not in shown["text"]


# ---- the file


def launch(*argv, **env):
    return Launch(argv or (sys.executable, "-c", "pass"), {"PATH": os.environ["PATH"], **env}, cwd="/")


def script(folder):
    path = folder / "server.py"
    path.write_text("pass")
    return launch(sys.executable, str(path))


def test_h5_facts_are_valid_for_a_week_or_a_day(tmp_path, monkeypatch):
    facts = EraStore(tmp_path / "eras.json")
    npx = tmp_path / "npx"
    npx.write_text("#!/bin/sh")
    npx.chmod(0o700)
    now = time.time()
    for command, valid in (
        (script(tmp_path), VALID),
        (launch(str(npx), "-y", "x@1.0.0"), FACT_SECONDS),
        (launch("uvx", "x"), FACT_SECONDS),
        (launch("sh", "-c", "npx -y x"), FACT_SECONDS),
    ):
        name, seconds, fact = facts.recall(command)
        assert (seconds, fact) == (valid, None)
        facts.keep(name, modern=False, legacy=True)
        for age, known in ((0, True), (valid - 60, True), (valid + 60, False), (-3600, False)):
            monkeypatch.setattr(era_store.time, "time", lambda age=age: now + age)
            assert (facts.recall(command)[2] is not None) == known
        monkeypatch.undo()
        facts.forget(name)
        assert facts.recall(command)[2] is None


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("other"),
        lambda path: os.utime(path, (5, 5)),
        lambda path: path.chmod(0o640),
        lambda path: (path.rename(path.with_name("old")), path.write_text("pass")),
        lambda path: path.unlink(),
    ],
)
def test_h5_any_change_of_a_named_file_makes_a_fact_invalid(tmp_path, change):
    facts, command = EraStore(tmp_path / "eras.json"), script(tmp_path)
    before = facts.recall(command)[0]
    assert EraStore(tmp_path / "eras.json").recall(command)[0] == before
    change(tmp_path / "server.py")
    assert facts.recall(command)[0] != before


def test_h5_another_word_variable_or_directory_is_another_command(tmp_path):
    facts = EraStore(tmp_path / "eras.json")
    base = launch("true", "x")
    others = [launch("true", "y"), launch("true", "x", KEY="1"), Launch(base.argv, base.env, cwd="/tmp")]
    assert len({facts.recall(one)[0] for one in (base, *others)}) == 4
    assert EraStore(tmp_path / "other.json").recall(base)[0] != facts.recall(base)[0]


def test_h5_facts_are_bounded(tmp_path):
    facts = EraStore(tmp_path / "eras.json")
    facts.recall(launch())
    for number in range(600):
        facts.keep(f"{number}", modern=True, legacy=None)
    kept = json.loads((tmp_path / "eras.json").read_text())["facts"]
    assert len(kept) == 512
    assert "599" in kept
    assert "0" not in kept


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: path.write_text('{"key":"00","facts":{}}'),
        lambda path: path.write_text('{"key":"zz","facts":[],"version":9}'),
        lambda path: path.write_text(" " * 300_000),
        lambda path: path.chmod(0o644),
        lambda path: (path.rename(path.with_name("real")), path.symlink_to("real")),
        lambda path: (path.unlink(), os.mkfifo(path)),
    ],
)
def test_h5_a_file_that_cannot_be_used_is_ignored_and_replaced(tmp_path, damage):
    path = tmp_path / "eras.json"
    facts, command = EraStore(path), launch()
    facts.keep(facts.recall(command)[0], modern=True, legacy=None)
    damage(path)
    name, _, fact = facts.recall(command)
    assert fact is None
    facts.keep(name, modern=False, legacy=True)
    assert facts.recall(command)[2].legacy
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    assert path.is_file()
    assert not path.is_symlink()


def test_h5_without_a_writable_directory_no_fact_is_stored(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "eras.json", tmp_path / "open" / "eras.json"):
        if place.parent.name == "open":
            place.parent.mkdir()
            place.parent.chmod(0o777)
        facts = EraStore(place)
        name, _, fact = facts.recall(launch())
        facts.keep(name, modern=True, legacy=True)
        facts.forget(name)
        assert fact is None
        assert facts.fault
        assert not place.exists()
