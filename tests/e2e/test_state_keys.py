"""Two daemons with the same keys of `requestState`, as replicas behind a proxy have them (tests/replicas tries the proxies)."""

import json
import sys
import urllib.request

import pytest

from ..support.bridge_process import REPOSITORY
from ..support.daemon_process import Daemon, write_config
from ..support.stateless_requests import headers_of, request, tool

SERVER = REPOSITORY / "tests/support/servers/replica.py"
REFUSED = {"code": -32602, "message": "Invalid or expired requestState"}
OLD, NEW = ("the old key of the states, 32 bytes", "the new key of the states, 32 bytes")


def key(folder, name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def configure(folder, name, *keys, more=()):
    """Write the configuration of a daemon whose server of the modern era returns the name of the daemon."""
    folder.mkdir(exist_ok=True)
    servers = {
        server: {"command": [sys.executable, str(SERVER), name, "both"], "era": "modern"}
        for server in ("one", *more)
    }
    write_config(
        folder / "config.toml", servers, listen={"http": "127.0.0.1:0", "request_state_keys": [*keys]}
    )


def send(daemon, params, server="one"):
    body = request("tools/call", params, caps={"elicitation": {"form": {}}})
    sent = urllib.request.Request(
        daemon.url(server) if server else daemon.mcp,
        json.dumps(body).encode(),
        {**headers_of(body), **daemon.headers},
    )
    with urllib.request.urlopen(sent, timeout=20) as response:
        answer = json.loads(response.read())
    if "error" in answer:
        return {name: value for name, value in answer["error"].items() if name != "data"}
    return answer["result"]


def begin(daemon, **arguments):
    """Return the parameters that continue a call."""
    result = send(daemon, tool("confirm", **arguments))
    replies = {"sure": {"action": "accept", "content": {"ok": True}}}
    return tool("confirm", **arguments) | {"inputResponses": replies, "requestState": result["requestState"]}


def ended(daemon, params, server="one"):
    result = send(daemon, params, server)
    return result if "code" in result else result["content"][0]["text"]


@pytest.fixture
def two(tmp_path):
    """Two daemons that share a key."""
    old = key(tmp_path, "old", OLD)
    configure(tmp_path / "a", "a", old, more=["two"])
    configure(tmp_path / "b", "b", old, more=["two"])
    with Daemon(tmp_path / "a") as first, Daemon(tmp_path / "b") as second:
        yield first, second


def test_a_request_for_input_is_continued_by_another_daemon(two):
    first, second = two
    assert ended(second, begin(first)) == "accept begun by a, ended by b"
    assert ended(first, begin(second)) == "accept begun by b, ended by a"


def test_a_state_is_valid_at_its_own_server_and_for_its_own_arguments_only(two):
    first, second = two
    params = begin(first, file="x")
    assert ended(second, params, "two") == REFUSED
    assert ended(second, params | {"arguments": {"file": "y"}}) == REFUSED
    assert ended(second, params) == "accept begun by a, ended by b"


def test_a_key_is_replaced_by_reloads_in_one_daemon_after_the_other(two, tmp_path):
    first, second = two
    old, new = key(tmp_path, "old", OLD), key(tmp_path, "new", NEW)
    before = begin(first)
    for keys in ((old, new), (new, old), (new,)):
        for name, daemon in (("a", first), ("b", second)):
            configure(tmp_path / name, name, *keys, more=["two"])
            changes = daemon.reload()
            assert changes["changed"] == []
            assert ended(second, begin(first)) == "accept begun by a, ended by b"
            assert ended(first, begin(second)) == "accept begun by b, ended by a"
    assert ended(second, before) == REFUSED


def test_without_keys_the_states_of_another_daemon_are_refused(tmp_path):
    for name in ("a", "b"):
        configure(tmp_path / name, name)
    with Daemon(tmp_path / "a") as first, Daemon(tmp_path / "b") as second:
        params = begin(first)
        assert ended(second, params) == REFUSED
        assert ended(first, params) == "accept begun by a, ended by a"


def test_a_short_key_is_an_error_at_a_check_and_at_a_reload(two, tmp_path):
    first, second = two
    configure(tmp_path / "a", "a", key(tmp_path, "short", "short"), more=["two"])
    done = first.do("config", "check", check=False)
    assert done.returncode == 78
    assert "request_state_keys: key 1 has 5 bytes; the smallest is 32" in done.stderr
    done = first.do("reload", check=False)
    assert done.returncode != 0
    # The former keys stay.
    assert ended(second, begin(first)) == "accept begun by a, ended by b"


def test_a_request_for_input_at_an_aggregate_is_continued_by_the_aggregate_of_another_daemon(tmp_path):
    shared = key(tmp_path, "shared", OLD)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        command = [sys.executable, str(SERVER), name, "both"]
        write_config(
            tmp_path / name / "config.toml",
            {"one": {"command": command, "era": "modern"}},
            listen={"http": "127.0.0.1:0", "request_state_keys": [shared]},
            aggregate={"servers": ["one"]},
        )
    with Daemon(tmp_path / "a") as first, Daemon(tmp_path / "b") as second:
        body = tool("one__confirm")
        result = send(first, body, "")
        replies = {name: {"action": "accept", "content": {"ok": True}} for name in result["inputRequests"]}
        again = body | {"inputResponses": replies, "requestState": result["requestState"]}
        assert ended(second, again, "") == "accept begun by a, ended by b"
