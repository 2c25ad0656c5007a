"""What `doctor` says about tokens and the issuer of access tokens."""

import os
import subprocess
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from mcpbridged.bridge.commands.doctor.credentials import (
    check_credentials,
    check_tokens,
    check_transport,
    issuer_finding,
    keys_fault,
)
from mcpbridged.bridge.commands.doctor.finding import ERROR, OK, WARNING
from mcpbridged.bridge.config.settings import ServerConfig, Settings, TokenConfig

from ....support.bridge_process import PROGRAM
from ....support.issuer import SETTINGS, Issuer, serving

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=60)
ONE, TWO = ServerConfig("one"), ServerConfig("two")


def about(*tokens, servers=(ONE,)):
    return [*check_tokens(Settings(servers, tokens=tokens), NOW)]


def test_a_token_that_never_expires_gets_a_line_that_ends_it():
    [found] = about(TokenConfig("ci", b"x"))
    assert (found.kind, found.text) == (WARNING, "tokens.ci: it never expires")
    assert found.commands == ("expires = 2030-04-01T00:00:00Z", "mcp-bridge reload")
    # The file of a token is changed for a rotation, and a certificate has an end of its own.
    assert not about(TokenConfig("ci", b"", secret="/x"))


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (timedelta(days=3, hours=1), "tokens.ci: it expires in 3 days, at 2030-01-04T01:00+00:00"),
        (timedelta(), "tokens.ci: it expired at 2030-01-01T00:00+00:00"),
        (timedelta(days=13, hours=23), "tokens.ci: it expires in 13 days, at 2030-01-14T23:00+00:00"),
    ],
)
def test_a_token_that_ends_soon_or_has_ended_is_reported(left, text):
    [found] = about(TokenConfig("ci", b"x", expires=NOW + left))
    assert found.text == text
    assert found.commands


def test_a_token_that_is_valid_for_long_is_not_reported():
    assert not about(TokenConfig("ci", b"x", expires=NOW + timedelta(days=14)))


def test_a_token_for_everything_is_reported_where_there_are_several_servers():
    wide = TokenConfig("ci", b"x", expires=LATER)
    assert not about(wide)
    [found] = about(wide, servers=(ONE, TWO))
    assert found.text == "tokens.ci: it may use every tool of all 2 servers"
    assert found.commands[0] == 'servers = ["one"]'
    for narrow in ({"servers": frozenset({"one"})}, {"read_only": True}, {"allow": ("a*",)}):
        assert not about(attrs.evolve(wide, **narrow), servers=(ONE, TWO))


@pytest.mark.parametrize(
    ("resource", "host", "words"),
    [
        ("https://mcp.example", "127.0.0.1", ""),
        ("http://127.0.0.1:8808", "127.0.0.1", ""),
        ("http://[::1]:8808", "127.0.0.1", ""),
        ("http://localhost", "127.0.0.1", ""),
        ("http://192.0.2.1:8808/x", "127.0.0.1", "without encryption"),
        ("https://mcp.example", "0.0.0.0", "without TLS"),
    ],
)
def test_tokens_without_encryption_are_reported(resource, host, words):
    settings = Settings((), host=host)
    found = [*check_transport(settings, attrs.evolve(SETTINGS, resource=resource))]
    assert [words in one.text for one in found] == [True] * bool(words)


def test_the_keys_of_the_issuer_are_read():
    theirs = Issuer()
    with serving(theirs) as server:
        settings = attrs.evolve(SETTINGS, issuer=theirs.issuer)
        assert keys_fault(settings) == ""
        server.works = False
        assert "/jwks returned status 500" in keys_fault(settings)
        found = [*check_credentials(Settings((), access_tokens=settings))]
        assert [one.kind for one in found] == [ERROR]
    assert "cannot" in issuer_finding(settings, keys_fault(settings)).text
    assert issuer_finding(settings, "").kind == OK


def test_the_keys_in_a_file_are_read(tmp_path):
    settings = attrs.evolve(SETTINGS, keys_file=tmp_path / "keys")
    assert keys_fault(settings) == f"{tmp_path}/keys: No such file or directory"


def test_the_command_reports_them_without_a_daemon(tmp_path):
    tmp_path.chmod(0o700)
    file = tmp_path / "config.toml"
    file.write_text(f'[tokens.ci]\nsha256 = "{"1" * 64}"\n')
    file.chmod(0o600)
    done = subprocess.run(
        [PROGRAM, "doctor", "--config", file],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "warning tokens.ci: it never expires" in done.stdout
    # The text that follows can be pasted.
    assert "\n            expires = " in done.stdout
