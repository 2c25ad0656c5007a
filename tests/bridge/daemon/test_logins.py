"""The credentials of remote servers: one store for all, and the name of each server in the command for a login."""

import io

import pytest

from mcpbridged.bridge.config.remote import Remote
from mcpbridged.bridge.config.settings import ServerConfig
from mcpbridged.bridge.daemon.logins import Logins
from mcpbridged.bridge.log import LineLog
from mcpbridged.bridge.runtime.server_log import ServerLog
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import Challenge, LoginRequired

pytestmark = pytest.mark.anyio
URL = "https://example.com/mcp"


async def test_all_servers_share_the_store_and_each_is_named_in_the_command(anyio_backend, tmp_path):
    logins = Logins({"XDG_STATE_HOME": str(tmp_path)}, tmp_path)
    log = ServerLog("one", LineLog(out=io.StringIO()))
    made = [
        logins(ServerConfig(name, remote=Remote(URL, plain_http=name == "two")), RemoteOptions(URL), log)
        for name in ("one", "two")
    ]
    assert made[0]._store is made[1]._store
    assert [one._settings.plain_http for one in made] == [False, True]
    assert await made[0].headers() == ()
    with pytest.raises(LoginRequired, match="mcp-bridge login two"):
        await made[1].renew(Challenge(401, (), URL), ())
