"""The remote server that the options of `connect URL` describe. The refused options are in tests/e2e/test_connect_url.py."""

import math

import pytest

from mcpbridged.bridge.commands.command_options import commands_parser
from mcpbridged.bridge.commands.connect.remote_options import remote_config
from mcpbridged.bridge.commands.invocation import BadUsage
from mcpbridged.bridge.config.credentials import BadCredential
from mcpbridged.validators.limits import Limits


def config_of(*words):
    return remote_config(commands_parser().parse_args(["connect", *words]), Limits(line=99))


def private(folder, name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    ("url", "words", "used"),
    [
        ("http://localhost:8808/mcp", (), "http://localhost:8808/mcp"),
        ("http://localhost:8808/ws", (), "ws://localhost:8808/ws"),
        ("https://example.com/prefix/servers/x/ws/", (), "wss://example.com/prefix/servers/x/ws/"),
        ("https://example.com/ws?a=b", (), "wss://example.com/ws?a=b"),
        ("https://example.com/ws", ("--transport", "http"), "https://example.com/ws"),
        ("https://example.com/x", ("--transport", "websocket"), "wss://example.com/x"),
        ("wss://example.com/mcp", (), "wss://example.com/mcp"),
        ("http://example.com/mcp", (), "http://example.com/mcp"),
    ],
)
def test_t02_the_path_of_a_url_names_a_websocket(url, words, used):
    assert config_of(url, *words).remote.url == used


def test_the_defaults_are_those_of_a_server_of_the_configuration():
    config = config_of("https://example.com/mcp")
    remote = config.remote
    assert (remote.transport, remote.headers, remote.proxy, remote.connect_seconds) == ("auto", (), "env", 10)
    assert (remote.ca_file, remote.client_cert, remote.client_key, remote.secrets) == ("", "", "", ())
    assert (remote.authorizes, config.limits.line, config.pending) == (True, 99, False)
    # The session of the client never ends by its age.
    assert config.limits.session_seconds == config.limits.session_idle_seconds == math.inf


def test_each_option_has_an_effect(tmp_path):
    for name in ("ca", "cert", "key"):
        private(tmp_path, name, "x")
    files = [
        word
        for name, key in (("--ca-file", "ca"), ("--cert", "cert"), ("--key", "key"))
        for word in (name, str(tmp_path / key))
    ]
    headers = private(tmp_path, "headers", "# a comment\nX-Api-Key:  s3cret-key \n")
    token = private(tmp_path, "token", "t0ken-of-the-user\n")
    words = (
        "--header",
        "X-Team: red",
        "--header-file",
        headers,
        "--token-file",
        token,
        "--proxy",
        "http://proxy:3128",
    )
    config = config_of("https://example.com/mcp", *words, *files, "--wait", "3")
    remote = config.remote
    assert remote.headers == (
        ("X-Team", "red"),
        ("X-Api-Key", "s3cret-key"),
        ("Authorization", "Bearer t0ken-of-the-user"),
    )
    assert (remote.ca_file, remote.client_cert, remote.client_key) == tuple(
        str(tmp_path / n) for n in ("ca", "cert", "key")
    )
    assert (remote.proxy, remote.connect_seconds, remote.authorizes) == ("http://proxy:3128", 3, False)
    assert set(config.secrets) == {"s3cret-key", "Bearer t0ken-of-the-user", "t0ken-of-the-user"}
    assert config_of("https://example.com/mcp", "--wait", "0", "--proxy", "").remote.connect_seconds == 1


def test_a_header_file_that_others_can_read_is_refused(tmp_path):
    path = private(tmp_path, "headers", "X: y\n")
    (tmp_path / "headers").chmod(0o644)
    with pytest.raises(BadCredential, match="has mode 0644"):
        config_of("https://example.com/mcp", "--header-file", path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("s3cret", "a header must be NAME: VALUE"),
        ("X: a\nX: b", "X is given twice"),
        ("Host: x", "is refused"),
    ],
)
def test_a_header_file_is_checked_without_showing_it(tmp_path, text, reason):
    path = private(tmp_path, "headers", text)
    with pytest.raises(BadUsage, match=reason) as caught:
        config_of("https://example.com/mcp", "--header-file", path)
    assert "s3cret" not in str(caught.value)
    assert path in str(caught.value)


def test_a_token_and_a_header_with_a_credential_exclude_each_other(tmp_path):
    headers = private(tmp_path, "headers", "authorization: Basic x\n")
    token = private(tmp_path, "token", "t0ken-of-the-user\n")
    with pytest.raises(BadUsage, match="exclude each other"):
        config_of("https://example.com/mcp", "--header-file", headers, "--token-file", token)


@pytest.mark.parametrize("option", ["--token-file", "--header-file"])
def test_a_credential_is_not_sent_to_another_machine_without_encryption(tmp_path, option):
    path = private(
        tmp_path, "file", "X-Key: value-of-it" if option == "--header-file" else "t0ken-of-the-user"
    )
    with pytest.raises(BadUsage, match="is not encrypted, and is not this machine"):
        config_of("http://example.com/mcp", option, path)
    assert config_of("http://localhost/mcp", option, path).remote.headers
