"""Which server `login` and `logout` mean."""

from pathlib import Path

import pytest

from mcpbridged.bridge.commands.command_options import commands_parser
from mcpbridged.bridge.commands.invocation import BadUsage, Invocation
from mcpbridged.bridge.commands.login_target import Target, target_of
from mcpbridged.bridge.commands.running_daemon import ConfigSource
from mcpbridged.bridge.config.oauth_settings import OAuth
from mcpbridged.bridge.config.remote import Remote
from mcpbridged.bridge.config.tables import BadConfig

from ...support.config_file import write_config_file

CONFIG = """
[servers.local]
command = ["true"]
[servers.remote]
url = "https://h.example/mcp"
headers = {X-Team = "a"}
secret_headers = {X-Key = "key"}
oauth = {client_id = "c"}
[servers.token]
url = "https://h.example/mcp"
secret_headers = {Authorization = "key"}
[servers.broken]
url = "https://h.example/mcp"
secret_headers = {X-Key = "line"}
[servers.open]
url = "http://h.example/mcp"
[servers.accepted]
url = "http://h.example/mcp"
plain_http = true
[oauth]
helper = "keyring-helper --service x"
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "key").write_text("secret-of-the-header\n")
    (tmp_path / "line").write_text("a\nb\n")
    for name in ("key", "line"):
        (tmp_path / name).chmod(0o600)
    return write_config_file(tmp_path, CONFIG)


def target(file, name, *options):
    parsed = commands_parser().parse_args(["login", name, *options])
    return target_of(Invocation(parsed, ConfigSource(file, {}), {}))


def test_a_name_is_that_of_a_configured_server(file):
    found = target(file, "remote")
    assert (found.name, found.remote.url, found.table.client_id) == ("remote", "https://h.example/mcp", "c")
    assert found.remote.headers == (("X-Team", "a"), ("X-Key", "secret-of-the-header"))
    assert found.helper == ("keyring-helper", "--service", "x")
    assert "secret-of-the-header" not in repr(found)


def test_plain_http_that_was_accepted_is_used(file):
    assert target(file, "accepted").remote.url == "http://h.example/mcp"


def test_a_url_needs_no_configuration(tmp_path):
    url = "https://h.example/mcp"
    assert target(tmp_path / "none.toml", url) == Target(url, Remote(url), OAuth())


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        (
            "other",
            BadConfig,
            "there is no server 'other'; the remote servers are remote, token, broken, open, accepted",
        ),
        ("local", BadUsage, "servers.local is a process"),
        ("token", BadUsage, "needs no login"),
        ("broken", BadConfig, "servers.broken: secret_headers: the value of X-Key"),
        ("open", BadConfig, "plain_http = true allows it"),
        ("http://h.example", BadUsage, "uses no TLS"),
        ("ftp://h.example", BadUsage, "must begin with http://"),
        ("https://u:secret@h.example", BadUsage, "user name"),
    ],
)
def test_another_name_is_refused_with_a_reason(file, name, kind, reason):
    with pytest.raises(kind, match=reason) as caught:
        target(file, name)
    assert "secret@" not in str(caught.value)


def test_options_describe_the_client_at_a_url(tmp_path):
    url, folder = "https://h.example/mcp", tmp_path / "none.toml"
    found = target(folder, url, "--client-id", "c", "--client-secret-file", "exec:x", "--client-credentials")
    assert found.table == OAuth(
        grant="client_credentials", client_id="c", client_secret=str(Path("exec:x").absolute())
    )
    found = target(folder, url, "--client-id", "c", "--private-key-file", "/key.pem")
    assert found.table == OAuth(client_id="c", private_key="/key.pem")
    found = target(folder, url, "--assertion-file", "/jwt")
    assert found.table == OAuth(grant="jwt_bearer", assertion="/jwt")
    found = target(folder, url, "--client-metadata-url", "https://c.example/c.json")
    assert found.table == OAuth(client_metadata_url="https://c.example/c.json")


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("https://h.example/mcp", ("--client-credentials",), "options of the OAuth client: grant"),
        ("https://h.example/mcp", ("--client-metadata-url", "http://c"), "must be an https URL"),
        ("remote", ("--client-id", "d"), "need a URL; servers.remote has the table oauth"),
    ],
)
def test_options_that_do_not_fit_are_refused(file, name, options, reason):
    with pytest.raises(BadUsage, match=reason):
        target(file, name, *options)


def test_without_a_file_there_are_no_servers(tmp_path):
    with pytest.raises(
        BadConfig, match="there is no remote server; `mcp-bridge add NAME --url URL` adds one"
    ):
        target(Path(tmp_path / "none.toml"), "remote")
