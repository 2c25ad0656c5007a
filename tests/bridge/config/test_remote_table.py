"""The keys of a remote server: which belong together, which are refused, and what becomes of their secrets."""

import re
from pathlib import Path

import pytest

from mcpbridged.bridge.config import load, tables
from mcpbridged.bridge.config.helper_programs import Helpers
from mcpbridged.bridge.config.remote_table import PROCESS_KEYS, REMOTE_KEYS
from mcpbridged.bridge.config.schema import Server
from mcpbridged.bridge.config.tables import BadConfig
from mcpbridged.transports.options import Launch

HERE = {"PATH": "/bin", "HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/me"}
URL = 'url = "https://example.com/mcp"\n'
OTHER = 'url = "http://example.com/mcp"\n'


def settings(text, base=Path("/base/config.toml")):
    return load.plan_tables(tables.examine_text(f"[servers.a]\n{text}".encode()), base, HERE)


def remote(text, base=Path("/base/config.toml")):
    [server] = settings(text, base).servers
    return server


def refused(text):
    with pytest.raises(BadConfig) as caught:
        settings(text)
    return str(caught.value)


def test_a_remote_server_has_no_process():
    server = remote(
        URL + 'transport = "http"\nheaders = {X-Team = "red"}\nconnect_seconds = 5\nshare = "principal"\n'
    )
    assert server.launch == Launch((), {})
    assert server.subject == server.remote.url == "https://example.com/mcp"
    assert (server.remote.transport, server.remote.headers) == ("http", (("X-Team", "red"),))
    assert (server.remote.connect_seconds, server.share, server.fault) == (5, "principal", "")
    assert (server.pending, server.needs_pin) == (False, False)


def test_an_approval_of_commands_is_not_for_remote_servers():
    file = tables.parse(b"approval = true\n[servers.a]\nurl = 'https://example.com/'\n")
    [server] = load._planned(file, Path("/base/config.toml"), HERE).servers
    assert not server.needs_pin


def test_each_key_is_of_a_process_or_of_a_remote_server_or_of_both():
    both = {
        "enabled",
        "share",
        "era",
        "start",
        "tools",
        "features",
        "definitions",
        "validate",
        "content",
        "argument_bytes",
        "rates",
        "tool_rates",
        "limits",
    }
    assert {*PROCESS_KEYS, *REMOTE_KEYS, *both} == {field.name for field in Server.__attrs_attrs__}
    assert not set(PROCESS_KEYS) & set(REMOTE_KEYS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('share = "server"\n', "servers.a: command is missing; a remote server needs url instead"),
        (
            'share = "server"\nca_file = "x"\n',
            "servers.a: url is missing, which ca_file would belong to (line 3)",
        ),
        (URL + 'command = ["x"]\n', "servers.a: command and url exclude each other: .* (line 2)"),
        (URL + 'era = "auto"\ncwd = "/x"\n', "servers.a: cwd: only a process has this key (line 4)"),
        (
            URL + 'env = {}\nspare = 0\npin = ""\n',
            "servers.a: env, spare, pin: only a process has these keys (line 3)",
        ),
        (
            'command = ["x"]\nheaders = {}\n',
            r"servers.a: headers: only a remote server \(url\) has this key (line 3)",
        ),
        ('url = ""\n', "servers.a: url: the URL must begin with http:// .* (line 2)"),
        (
            'url = "https://a:b@example.com/"\n',
            "servers.a: url: the URL has a user name or password; .* (line 2)",
        ),
        ('url = "file:///etc/passwd"\n', "servers.a: url: the URL must begin with .* (line 2)"),
        (
            'url = "wss://example.com/"\ntransport = "sse"\n',
            'servers.a: transport: "sse" needs an http:// .* (line 3)',
        ),
        (
            URL + 'transport = "tcp"\n',
            "servers.a: transport: must be 'auto', .* or 'websocket', not the string 'tcp' (line 3)",
        ),
        (
            URL + 'headers = {"X Y" = "1"}\n',
            "servers.a: headers: 'X Y' is not the name of a header: .* (line 3)",
        ),
        (URL + 'headers = {Host = "1"}\n', "servers.a: headers: the header Host is refused: .* (line 3)"),
        (
            URL + 'headers = {MCP-Session-Id = "1"}\n',
            "servers.a: headers: the header MCP-Session-Id is refused: .* (line 3)",
        ),
        (
            URL + 'headers = {X = "a\\r\\nY: b"}\n',
            "servers.a: headers: the value of X must be visible ASCII .* (line 3)",
        ),
        (
            URL + 'headers = {X = "caf\\u00e9"}\n',
            "servers.a: headers: the value of X must be visible ASCII .* (line 3)",
        ),
        (
            URL + 'headers = {Authorization = "x"}\n',
            "servers.a: headers: Authorization looks like a credential; .* (line 3)",
        ),
        (
            URL + 'headers = {X-Api-Key = "x"}\n',
            "servers.a: headers: X-Api-Key looks like a credential; .* (line 3)",
        ),
        (
            URL + 'headers = {X-A = "1", x-a = "2"}\n',
            "servers.a: headers: X-A and x-a are the same header (line 3)",
        ),
        (
            URL + 'headers = {X-A = "1"}\nsecret_headers = {x-a = "f"}\n',
            "servers.a: headers: X-A and x-a are .* (line 3)",
        ),
        (URL + 'secret_headers = {Cookie-X = "exec:"}\n', "servers.a: secret_headers: Cookie-X: .* (line 3)"),
        (
            URL + 'secret_headers = {Host = "f"}\n',
            "servers.a: secret_headers: the header Host is refused: .* (line 3)",
        ),
        (URL + 'client_key = "x"\n', "servers.a: client_key needs client_cert (line 3)"),
        (
            URL + 'proxy = "socks4://x"\n',
            "servers.a: proxy: socks4:// proxies are not supported; .* (line 3)",
        ),
        (
            URL + 'proxy = "http://me:secret@x"\n',
            "servers.a: proxy: a user name and password do not belong .* (line 3)",
        ),
        (URL + "connect_seconds = 0\n", "servers.a: connect_seconds: .* (line 3)"),
        (URL + '[servers.a.oauth]\nscope = "x"\n', "servers.a.oauth: there is no key 'scope'; .* (line 4)"),
        (URL + "[servers.a.oauth]\nclient_secret = 'f'\n", "servers.a: oauth: client_secret and .* (line 3)"),
        (
            URL + "[servers.a.oauth]\nclient_id = 'c'\nclient_secret = 'exec:'\n",
            "servers.a: oauth: client_secret: the helper names no program (line 3)",
        ),
        (
            URL + "secret_headers = {authorization = 'f'}\n[servers.a.oauth]\n",
            "servers.a: oauth and a secret_headers.Authorization exclude each other (line 4)",
        ),
        (
            OTHER + "[servers.a.oauth]\n",
            "servers.a: http:// is not encrypted, and example.com is not .* (line 2)",
        ),
        (
            OTHER + "secret_headers = {X = 'f'}\n",
            "servers.a: http:// is not encrypted, .* plain_http = true (line 2)",
        ),
        (
            'url = "ws://10.0.0.1/"\nsecret_headers = {X = "f"}\n',
            "servers.a: ws:// is not encrypted, .* (line 2)",
        ),
        (URL + "limits = {body = 0}\n", "servers.a: limits: body must be more than 0 .*"),
    ],
)
def test_an_error_names_the_key_and_its_line(text, reason):
    place = re.search(r" \(line (\d+)\)$", reason)
    words = reason[: place.start()] if place else reason
    assert re.fullmatch(rf"/base/config.toml:{place[1] if place else '.'}:\d+: {words}", refused(text))


@pytest.mark.parametrize("secret", ["headers", "secret_headers", "proxy", "url"])
def test_no_value_that_may_be_a_secret_is_in_an_error(secret):
    value = '"https://user:hunter22@example.com/"' if secret in ("proxy", "url") else '{X = ["hunter22"]}'
    text = f"{secret} = {value}\n"
    assert "hunter22" not in refused(text if secret == "url" else URL + text)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "[::1]:8080", "localhost", "LOCALHOST:1", "a.localhost", "127.9.9.9"]
)
def test_credentials_may_go_to_this_machine_without_encryption(host):
    server = remote(f'url = "http://{host}/mcp"\nsecret_headers = {{X = "/x/nothere"}}\n')
    assert server.remote.authorizes


def test_a_key_allows_credentials_without_encryption():
    text = OTHER + "plain_http = true\n"
    assert remote(text).remote.authorizes
    assert remote(text + '[servers.a.oauth]\nscopes = ["a"]\n').remote.oauth.scopes == ("a",)
    # Without it no token is requested, because there is no place for it.
    assert not remote(OTHER).remote.authorizes


def test_a_websocket_may_be_named_by_an_http_url():
    assert (
        remote('url = "https://example.com/x"\ntransport = "websocket"\n').remote.url == "wss://example.com/x"
    )
    assert remote('url = "http://localhost/x"\ntransport = "websocket"\n').remote.url == "ws://localhost/x"
    assert remote('url = "HTTP://localhost/x"\ntransport = "websocket"\n').remote.url == "ws://localhost/x"
    assert remote('url = "wss://example.com/x"\n').remote.url == "wss://example.com/x"


@pytest.mark.parametrize(
    ("stored", "sent"),
    [("s3cret-value\n", "Bearer s3cret-value"), ("Basic s3cret-value", "Basic s3cret-value")],
)
def test_a_secret_header_is_read_from_its_place(tmp_path, stored, sent):
    token = tmp_path / "token"
    token.write_text(stored)
    token.chmod(0o600)
    text = URL + 'headers = {X-A = "1"}\nsecret_headers = {Authorization = "token"}\n'
    server = remote(text, tmp_path / "config.toml")
    assert server.pending
    assert server.outside == (token,)
    found = server.resolved(Helpers())
    assert (found.fault, found.pending) == ("", False)
    assert found.remote.headers == (("X-A", "1"), ("Authorization", sent))
    assert set(found.secrets) == {sent, "s3cret-value"}
    assert not found.remote.authorizes
    # A second look reads the file again.
    token.write_text("0ther-value")
    assert found.resolved(Helpers()).remote.headers[1] == ("Authorization", "Bearer 0ther-value")


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ("a\nb", "secret_headers: the value of X-Key must be visible ASCII"),
        (" \n", "visible ASCII"),
        ("\n", "empty"),
    ],
)
def test_a_secret_that_is_no_header_value_is_the_fault_of_its_server(tmp_path, stored, reason):
    token = tmp_path / "token"
    token.write_text(stored)
    token.chmod(0o600)
    text = URL + 'secret_headers = {X-Key = "token"}\n'
    found = remote(text, tmp_path / "config.toml").resolved(Helpers())
    assert reason in found.fault
    assert not found.pending


@pytest.mark.parametrize("key", ["ca_file", "client_cert"])
def test_a_missing_file_is_the_fault_of_its_server(tmp_path, key):
    assert "nothere.pem" in remote(URL + f'{key} = "nothere.pem"\n', tmp_path / "config.toml").fault


def test_a_key_that_others_can_read_is_refused(tmp_path):
    for name, mode in (("cert.pem", 0o644), ("key.pem", 0o644)):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(mode)
    text = URL + 'client_cert = "cert.pem"\nclient_key = "key.pem"\n'
    assert "key.pem has mode 0644" in remote(text, tmp_path / "config.toml").fault
    (tmp_path / "key.pem").chmod(0o600)
    server = remote(text, tmp_path / "config.toml")
    assert (server.fault, server.remote.client_key) == ("", str(tmp_path / "key.pem"))
    assert set(server.outside) == {tmp_path / "cert.pem", tmp_path / "key.pem"}


def test_a_secret_of_a_url_is_redacted():
    assert remote('url = "https://example.com/?api_key=s3cret-value"\n').secrets == ("s3cret-value",)
