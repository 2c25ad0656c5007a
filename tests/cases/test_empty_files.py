"""Files that turn empty, as a program that writes them or a full disk leaves them, end no session and lock out no client."""

import secrets
import signal

import pytest

from mcpbridged.bridge.commands.control_client import ErrorResponse
from mcpbridged.bridge.config.tables import has_no_statement

from ..support.daemon_clients import example
from ..support.daemon_process import daemon
from ..support.sharing import TRANSPORTS
from ..support.tls import write_certificate
from ..support.waiting import wait_until

pytestmark = pytest.mark.anyio
EMPTY = ("", "\n \t\n", "# [servers.one]\n  # command = 'x'")


@pytest.mark.parametrize("text", EMPTY)
async def test_an_empty_configuration_changes_nothing(tmp_path, text):
    with daemon(tmp_path, {"one": example()}) as running:
        async with TRANSPORTS["ws"](running, "/servers/one") as client:
            await client.initialize({})
            running.config.write_text(text)
            with pytest.raises(ErrorResponse, match=r"config\.toml is empty.* write `config_version = 1`"):
                running.reload()
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda: sum("reload_failed" in line for line in running.lines) == 2)
            assert await client.call("echo", text="x") == "x"
            assert running.do("reload", check=False).returncode == 78
            assert running.status()["servers"][0]["sessions"] == 1
        # With a statement it is meant.
        running.config.write_text("config_version = 1\n")
        assert running.reload()["removed"] == ["one"]
        # There is nothing left to lose.
        running.config.write_text("")
        running.reload()


async def test_a_command_that_removes_the_last_server_is_obeyed(tmp_path):
    with daemon(tmp_path, {"one": example()}) as running:
        running.config.write_text('[servers.one]\ncommand = "cat"\n')
        running.reload()
        assert "removed: one" in running.do("remove", "one").stdout
        assert has_no_statement(running.config.read_text())
        assert running.status()["servers"] == []


@pytest.mark.parametrize(
    ("text", "empty"), [*((text, True) for text in EMPTY), ("a = '#'", False), ("[x] #", False)]
)
def test_white_space_and_comments_are_no_statement(text, empty):
    assert has_no_statement(text) is empty


def kept(folder, name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("content", ["", "\n"])
async def test_empty_files_of_tokens_keys_and_certificates_change_nothing(authority, tmp_path, content):
    owner, other, key = (secrets.token_urlsafe(32) for _ in range(3))
    files = {
        "token": kept(tmp_path, "token", owner),
        "named": kept(tmp_path, "named", other),
        "keys": kept(tmp_path, "keys", key),
    }
    files["certificate"], files["key"] = write_certificate(authority, tmp_path, "localhost", "127.0.0.1")
    listen = {
        "token": str(files["token"]),
        "request_state_keys": [str(files["keys"])],
        "tls_cert": str(files["certificate"]),
        "tls_key": str(files["key"]),
    }
    tokens = {"tokens.ci": {"secret": str(files["named"]), "servers": ["one"]}}
    with daemon(tmp_path, {"one": example()}, listen=listen, **tokens) as running:
        for name, path in files.items():
            before = path.read_text()
            path.write_text(content)
            if name in ("token", "named"):
                wait_until(
                    lambda path=path: any(
                        "token_unreadable" in line and str(path) in line for line in running.lines
                    )
                )
            with pytest.raises(ErrorResponse, match=str(path)):
                running.reload()
            path.write_text(before[: len(before) // 2])
            if name in ("certificate", "key"):
                with pytest.raises(ErrorResponse, match=str(path)):
                    running.reload()
            path.write_text(before)
        assert running.reload()["kept"] == ["one"]
        assert running.status()["servers"][0]["name"] == "one"
