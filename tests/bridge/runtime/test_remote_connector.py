"""The connections to one remote server: what they are made of, and whether a login is required."""

import io
from itertools import count

import attrs
import pytest

from mcpbridged.bridge.config.oauth_settings import OAuth
from mcpbridged.bridge.config.remote import Remote
from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.log import LineLog
from mcpbridged.bridge.runtime.remote_connector import LoginState, RemoteConnector
from mcpbridged.bridge.runtime.server_log import ServerLog
from mcpbridged.transports.client.ports import Challenge, LoginRequired
from mcpbridged.transports.options import SpawnFailed
from mcpbridged.validators.limits import Limits

pytestmark = pytest.mark.anyio
REMOTE = Remote(
    "https://example.com/mcp",
    "http",
    headers=(("X-A", "1"),),
    ca_file="/ca",
    client_cert="/cert",
    client_key="/key",
    proxy="",
    connect_seconds=3,
    oauth=OAuth(scopes=("a",)),
    authorizes=True,
)
CONFIG = ServerConfig("one", remote=REMOTE, limits=Limits(line=1234))
CHALLENGE = Challenge(401, ("Bearer",), "https://example.com/mcp")
TOKEN = ((b"Authorization", b"Bearer x"),)
OTHER = ((b"Authorization", b"Bearer y"),)


class Credentials:
    """The credentials of a server (client.ports.Authorizer)."""

    def __init__(self):
        self.found = ()
        self.reason = ""

    async def headers(self):
        if self.reason == "at once":
            raise LoginRequired("run mcp-bridge login one")
        return self.found

    async def renew(self, challenge, used):
        if self.reason:
            raise LoginRequired("run mcp-bridge login one")
        return challenge is CHALLENGE and used is self.found


def log():
    return ServerLog("one", LineLog(out=io.StringIO()))


async def test_each_connection_has_a_number_and_what_the_configuration_names(anyio_backend):
    made = []

    def make(config, options, server_log):
        made.append((config, options, server_log))
        return Credentials()

    server_log = log()
    connector = RemoteConnector(server_log, count(-1, -1), make)
    first, second = await connector.connect(CONFIG), await connector.connect(CONFIG)
    assert (first.pid, second.pid) == (-1, -2)
    options = first._options
    assert (options.url, options.transport, options.headers) == (REMOTE.url, "http", ((b"X-A", b"1"),))
    assert (options.ca_file, options.cert_file, options.key_file) == ("/ca", "/cert", "/key")
    assert (options.proxy, options.connect_seconds, options.limits) == ("", 3, CONFIG.limits)
    # One authorizer for all connections, made from the options without it.
    assert made == [(CONFIG, attrs.evolve(options, authorizer=None), server_log)]
    assert second._options.authorizer is options.authorizer
    connector.restart()
    await connector.connect(CONFIG)
    assert len(made) == 2


@pytest.mark.parametrize("make", [None, lambda *_: pytest.fail("made")])
async def test_no_login_is_made_with_a_credential_of_the_configuration(anyio_backend, make):
    connector = RemoteConnector(log(), count(-1, -1), make)
    config = attrs.evolve(CONFIG, remote=attrs.evolve(REMOTE, authorizes=make is None))
    connection = await connector.connect(config)
    assert connection._options.authorizer is None
    assert connector.login_required == ""


async def test_a_url_that_cannot_be_used_is_a_failed_start(anyio_backend):
    connector = RemoteConnector(log(), count(-1, -1), None)
    config = attrs.evolve(CONFIG, remote=attrs.evolve(REMOTE, url="https://"))
    with pytest.raises(SpawnFailed, match="cannot connect to a URL that cannot be used: the URL has no host"):
        await connector.connect(config)


async def test_a_login_is_required_until_there_are_other_credentials(anyio_backend):
    credentials = Credentials()
    connector = RemoteConnector(log(), count(-1, -1), lambda *_: credentials)
    connection = await connector.connect(CONFIG)
    login = connection._options.authorizer
    credentials.found = TOKEN
    assert await login.headers() == TOKEN
    assert await login.renew(CHALLENGE, TOKEN)
    assert connector.login_required == ""
    credentials.reason = "refused"
    with pytest.raises(LoginRequired):
        await login.renew(CHALLENGE, TOKEN)
    assert await login.headers() == TOKEN
    assert connector.login_required == "run mcp-bridge login one"
    credentials.found = OTHER
    assert await login.headers() == OTHER
    assert connector.login_required == ""


async def test_a_login_is_required_if_there_are_no_credentials(anyio_backend):
    credentials = Credentials()
    login = LoginState(credentials)
    credentials.reason = "at once"
    with pytest.raises(LoginRequired):
        await login.headers()
    assert login.required == "run mcp-bridge login one"
    credentials.reason = ""
    assert await login.headers() == ()
    assert login.required
    credentials.found = TOKEN
    await login.headers()
    assert login.required == ""
