"""Many processes use the credentials of one login while their tokens expire all the time.

The authorization server rotates refresh tokens: it revokes everything if one is used twice. Each request of each process must
therefore have a valid token, and each refresh token be used once.
"""

import subprocess
import sys

import pytest
import trio

from mcpbridged.validators.oauth_challenge import BearerChallenge

from ..support.oauth_world import oauth_world

pytestmark = pytest.mark.anyio

PROCESSES = 4
REQUESTS = 25

USER = """
import sys
from pathlib import Path

import attrs
import trio

from mcpbridged.bridge.log import LineLog
from mcpbridged.bridge.oauth.factory import Surroundings, new_authorizer
from mcpbridged.bridge.oauth.store import CredentialStore, FileBackend
from mcpbridged.transports.client.http_client import HttpClient
from mcpbridged.transports.client.options import RemoteOptions

url, folder, requests = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

async def main():
    store = CredentialStore(FileBackend(folder), folder)
    options = RemoteOptions(url)
    authorizer = new_authorizer("remote", options, None, store, Surroundings({}, folder), LineLog("none"))
    async with HttpClient(attrs.evolve(options, authorizer=authorizer)) as client:
        for _ in range(requests):
            async with client.authorized_request("POST", url, (), b"{}") as response:
                assert response.status == 200, response.status
                await response.read(1000)
            await trio.sleep(0.02)

trio.run(main)
"""


async def test_processes_that_share_a_login_use_each_refresh_token_once(tmp_path):
    async with oauth_world(tmp_path / "state") as world:
        world.server.changes["token"] = {"expires_in": 0.1}
        await world.authorizer(prompt=world.user).log_in(BearerChallenge())
        words = [sys.executable, "-c", USER, world.server.url, str(world.folder), str(REQUESTS)]
        failed = []

        async def run():
            done = await trio.run_process(words, capture_stderr=True, check=False, stdin=subprocess.DEVNULL)
            if done.returncode:
                failed.append(done.stderr.decode())

        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for _ in range(PROCESSES):
                    nursery.start_soon(run)
        assert failed == []
        refreshes = [
            request.form["refresh_token"]
            for request in world.server.requests("/token")
            if request.form["grant_type"] == "refresh_token"
        ]
        assert len(refreshes) > PROCESSES
        assert len(set(refreshes)) == len(refreshes)
        # No second login took place.
        assert len(world.user.links) == 1
