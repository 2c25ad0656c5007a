"""Named tokens with an end, tokens in files that change, and what is open when a token stops being valid."""

import hashlib
import json
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from mcpbridged.bridge.config.credentials import new_token

from ..support.bridge_process import EXAMPLE, REPOSITORY
from ..support.credential_client import TRANSPORTS, Target, bearer, ended
from ..support.daemon_process import daemon, write_config

ANNOTATED = REPOSITORY / "tests/support/servers/annotated.py"
SERVERS = {"example": {"command": EXAMPLE}}


def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()


def written(path):
    token = new_token()
    path.write_text(token)
    path.chmod(0o600)
    return token


def eventually(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_stream_ends_when_the_token_file_of_its_name_changes(tmp_path, transport):
    file = tmp_path / "ci"
    token = written(file)
    with daemon(tmp_path, SERVERS, **{"tokens.ci": {"secret": str(file)}}) as running:
        target = Target(running.address)
        sock, reply = target.open(transport, "example", bearer(token))
        with sock:
            assert reply.status in (200, 101)
            other = written(file)
            assert ended(sock)
        assert target.initialize("example", bearer(token)).status == 401
        assert target.initialize("example", bearer(other)).status == 200


def test_a_token_file_is_taken_only_if_it_is_valid_and_the_former_token_overlaps(tmp_path):
    file = tmp_path / "owner"
    former = written(file)
    with daemon(tmp_path, SERVERS, listen={"token": str(file), "token_overlap": 3600}) as running:
        target = Target(running.address)

        def status(token):
            return target.initialize("example", bearer(token)).status

        file.write_text("too short")
        eventually(lambda: any("token_unreadable" in line for line in running.lines))
        assert status(former) == 200
        token = written(file)
        eventually(lambda: status(token) == 200)
        assert status(former) == 200
        assert any("owner_token_changed" in line for line in running.lines)
        assert not any(token in line or former in line for line in running.lines)
        # A reload ends the overlap.
        running.do("reload")
        assert [status(one) for one in (token, former)] == [200, 401]


def test_the_overlap_ends(tmp_path):
    file = tmp_path / "owner"
    former = written(file)
    with daemon(tmp_path, SERVERS, listen={"token": str(file), "token_overlap": 1}) as running:
        target = Target(running.address)
        sock, reply = target.open("sse", "example", bearer(former))
        with sock:
            assert reply.status == 200
            token = written(file)
            assert ended(sock)
        assert target.initialize("example", bearer(former)).status == 401
        assert target.initialize("example", bearer(token)).status == 200


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_stream_ends_when_its_token_expires(tmp_path, transport):
    token = new_token()
    with daemon(tmp_path, SERVERS) as running:
        expires = datetime.now(UTC) + timedelta(seconds=4)
        write_config(running.config, SERVERS)
        text = f'[tokens.ci]\nsha256 = "{digest(token)}"\nexpires = {expires.isoformat()}\n'
        running.config.write_text(running.config.read_text() + text)
        running.reload()
        target = Target(running.address)
        sock, reply = target.open(transport, "example", bearer(token))
        with sock:
            assert reply.status in (200, 101)
            assert ended(sock)
        assert datetime.now(UTC) >= expires
        assert target.initialize("example", bearer(token)).status == 401
        assert any("token_expired" in line for line in running.lines)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_revoked_token_ends_its_streams_without_a_further_command(tmp_path, transport):
    with daemon(tmp_path, SERVERS) as running:
        token = running.do("token", "new", "ci", "--expires", "1d").stdout.strip()
        running.do("reload")
        sock, reply = Target(running.address).open(transport, "example", bearer(token))
        with sock:
            assert reply.status in (200, 101)
            running.do("token", "revoke", "ci")
            assert ended(sock)
        assert Target(running.address).initialize("example", bearer(token)).status == 401


def test_a_rotated_token_and_the_former_one_are_valid_until_the_overlap_ends(tmp_path):
    with daemon(tmp_path, SERVERS) as running:
        former = running.do("token", "new", "ci").stdout.strip()
        token = running.do("token", "rotate", "ci").stdout.strip()
        target = Target(running.address)
        assert [target.initialize("example", bearer(one)).status for one in (token, former)] == [200, 200]
        last = running.do("token", "rotate", "ci", "--overlap", "0").stdout.strip()
        statuses = [target.initialize("example", bearer(one)).status for one in (last, token, former)]
        assert statuses == [200, 401, 401]
        refused = running.do("token", "rotate", "nobody", check=False)
        assert (refused.returncode, "there is no token 'nobody'" in refused.stderr) == (78, True)


def test_a_token_for_reading_may_list_and_call_annotated_tools_only(tmp_path):
    servers = {"example": {"command": [sys.executable, str(ANNOTATED)]}}
    with daemon(tmp_path, servers) as running:
        token = running.do("token", "new", "ci", "--read-only").stdout.strip()
        running.do("reload")
        target = Target(running.address)
        reply = target.initialize("example", bearer(token))
        session = {**bearer(token), "Mcp-Session-Id": reply.headers["mcp-session-id"]}

        def call(method, **params):
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            return target.post("/servers/example/mcp", message, session).json

        target.post(
            "/servers/example/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"}, session
        )
        # No list has passed, so that no annotation is known.
        assert call("tools/call", name="look", arguments={})["error"]["code"] == -32602
        assert [tool["name"] for tool in call("tools/list")["result"]["tools"]] == ["look"]
        assert "result" in call("tools/call", name="look", arguments={})
        assert call("tools/call", name="write", arguments={})["error"]["code"] == -32602
        assert call("tools/call", name="plain", arguments={})["error"]["code"] == -32602
        assert call("vendor/method")["error"]["code"] == -32601


def test_the_list_of_tokens_has_their_end_and_last_use(tmp_path):
    with daemon(tmp_path, SERVERS) as running:
        token = running.do("token", "new", "used", "--expires", "2027-01-31T00:00Z").stdout.strip()
        running.do("token", "new", "unused")
        running.do("reload")
        assert Target(running.address).initialize("example", bearer(token)).status == 200

        def listed():
            found = json.loads(running.do("token", "list", "--json").stdout)
            return {one["token"]: one for one in found}

        assert listed()["used"]["last_used"] is not None
        assert listed()["unused"]["last_used"] is None
        assert listed()["used"]["expires"] == "2027-01-31T00:00:00+00:00"
        assert listed()["unused"]["expires"] is None
    # The time is kept while no daemon runs.
    assert listed()["used"]["last_used"] is not None
    assert "2027-01-31" in running.do("token", "list").stdout
